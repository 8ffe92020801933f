import io
import stat
import struct
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.archives import ZipCaps, is_zip, open_zip, safe_name, unpack_zip
from ingest.errors import InputError, LimitError

LINE = b'{"resourceType": "Patient", "id": "p"}\n'


def write_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def reasons(path: Path, target: Path, caps: ZipCaps | None = None) -> dict[str, str | None]:
    found = unpack_zip(path, target, caps)
    assert sorted(place for _, place, _ in found if place) == sorted(target.iterdir())
    for _, place, reason in found:
        assert (place is None) == (reason is not None)
    return {name: reason for name, _, reason in found}


def test_a_zip_s_files_come_out_as_they_went_in(tmp_path: Path) -> None:
    members = {"a/Patient.ndjson": LINE, "a/empty.json": b"", "Ödem.json": LINE * 10_000}
    path = write_zip(tmp_path / "a.zip", {"a/": b"", **members})
    assert is_zip(path)
    assert {member.name: member.stream.read() for member in open_zip(path)} == members
    found = unpack_zip(path, tmp_path / "out")
    assert {name: place.read_bytes() for name, place, _ in found} == members
    assert [place.name[7:] for _, place, _ in found] == [
        "Patient.ndjson",
        "empty.json",
        "Ödem.json",
    ]


@pytest.mark.parametrize(
    "name",
    ["../../evil.json", "/etc/evil.json", "C:\\evil.json", "a/../../evil.json", "a\0/evil.json"],
)
def test_a_name_that_leads_out_of_the_folder_does_no_harm(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "a.zip", {"12345678901234567": LINE})
    # zipfile would write a clean name.
    raw = name.encode()[:17].ljust(17, b" ")
    path.write_bytes(path.read_bytes().replace(b"12345678901234567", raw))
    [(safe, place, _)] = unpack_zip(path, tmp_path / "deep" / "out")
    assert ".." not in safe
    assert not safe.startswith("/")
    assert place is not None
    assert place.parent == tmp_path / "deep" / "out"
    assert {p.name for p in tmp_path.iterdir()} == {"a.zip", "deep"}


@given(st.text(max_size=40))
def test_a_safe_name_is_relative_and_goes_nowhere(name: str) -> None:
    parts = safe_name(name).split("/")
    assert all(part and part not in (".", "..") and part.isprintable() for part in parts)
    assert safe_name("/".join(parts)) == "/".join(parts)


def test_what_is_no_plain_file_is_left_out_with_its_reason(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    device = zipfile.ZipInfo("device")
    device.external_attr = (stat.S_IFCHR | 0o666) << 16
    inner = write_zip(tmp_path / "inner", {"a": LINE}).read_bytes()
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr(device, "")
        archive.writestr("inner.zip", inner)
        archive.writestr("disguised.json", inner)
        archive.writestr("__MACOSX/x.json", LINE)
        archive.writestr("a/.hidden", LINE)
        archive.writestr("old.json", LINE, zipfile.ZIP_LZMA)
        archive.writestr("good.json", LINE)
    assert reasons(path, tmp_path / "out") == {
        "link.json": "a link",
        "device": "a special file",
        "inner.zip": "an archive within an archive",
        "disguised.json": "an archive within an archive",
        "__MACOSX/x.json": "a hidden file",
        "a/.hidden": "a hidden file",
        "old.json": "compressed by another method than deflate",
        "good.json": None,
    }


def test_an_encrypted_member_is_named_as_such(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.json": LINE})
    content = bytearray(path.read_bytes())
    content[content.find(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    assert reasons(path, tmp_path / "out") == {"a.json": "encrypted"}


def test_a_member_that_swells_is_refused_at_once_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("bomb.ndjson", "w") as out:
            for _ in range(100):
                out.write(bytes(1 << 20))
        archive.writestr("good.json", LINE)
    begun = time.monotonic()
    assert reasons(path, tmp_path / "out") == {
        "bomb.ndjson": "over a cap: inflates more than 200 times",
        "good.json": None,
    }
    assert time.monotonic() - begun < 2


def test_a_member_that_lies_about_its_size_is_stopped_while_it_inflates(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"bomb": bytes(50 << 20), "good": LINE})
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\1\2")
    # It says that it inflates to nothing much, and that it is as long as it could be.
    struct.pack_into("<2L", content, at + 20, 0x7FFFFFF0, 0x7FFFFFFF)
    path.write_bytes(content)
    found = reasons(path, tmp_path / "out", ZipCaps(ratio=500, any_ratio_bytes=1 << 20))
    assert found["bomb"] in ("over a cap: inflates more than 500 times", "damaged")
    assert found["good"] is None


@pytest.mark.parametrize(
    ("caps", "reason"),
    [
        (ZipCaps(member_bytes=100), "over a cap: more than 100 bytes"),
        (
            ZipCaps(total_bytes=150),
            "over a cap: with the members before it, more than the whole zip may inflate to",
        ),
    ],
)
def test_caps_hold_for_a_member_and_for_all(tmp_path: Path, caps: ZipCaps, reason: str) -> None:
    path = write_zip(tmp_path / "a.zip", {"a": b"x" * 90, "b": b"x" * 120})
    assert reasons(path, tmp_path / "out", caps) == {"a": None, "b": reason}


def test_members_that_share_their_bytes_are_stopped_by_the_sum(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a": bytes(4 << 20)})
    content = path.read_bytes()
    at = content.find(b"PK\1\2")
    entry, end = content[at:-22], bytearray(content[-22:])
    struct.pack_into("<2HL", end, 8, 400, 400, 400 * len(entry))
    path.write_bytes(content[:at] + entry * 400 + end)
    try:
        found = unpack_zip(path, tmp_path / "out", ZipCaps(ratio=2000))
    except InputError:  # newer Pythons see that they overlap
        return
    inflated = sum(place.stat().st_size for _, place, _ in found if place)
    assert inflated <= 64 << 20
    assert len(found) == 400


def test_a_directory_of_too_many_members_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {f"{number}": b"" for number in range(51)})
    assert len(list(open_zip(path, ZipCaps(members=51)))) == 51
    with pytest.raises(LimitError, match="more than the cap of 50 members"):
        list(open_zip(path, ZipCaps(members=50)))


def test_a_directory_that_claims_the_whole_file_is_not_held_in_memory(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a": bytes(5 << 20)}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    struct.pack_into("<L", content, len(content) - 10, len(content) - 22)
    path.write_bytes(content)
    with pytest.raises(LimitError, match="more than the cap of 10 members"):
        list(open_zip(path, ZipCaps(members=10)))


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\5\6", b"no zip", b"PK\5\6" + b"\xff" * 18])
def test_what_is_no_zip_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.zip is no zip that can be read"):
        list(open_zip(tmp_path / "a.zip"))


def test_zip64_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive, archive.open("a", "w", force_zip64=True) as out:
        out.write(LINE)
    content = path.read_bytes()
    at = content.find(b"PK\1\2")
    length = len(content) - 22 - at
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, length, at)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at + length, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(content[:-22] + end64 + locator + end)
    assert [member.stream.read() for member in open_zip(path)] == [LINE]


def test_a_member_whose_name_begins_with_a_nul_has_none_and_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("one.json", LINE)
        archive.writestr("two.json", LINE)
    content = (tmp_path / "a.zip").read_bytes().replace(b"one.json", b"\0ne.json")
    (tmp_path / "a.zip").write_bytes(content)
    found = unpack_zip(tmp_path / "a.zip", tmp_path / "out", ZipCaps())
    assert [name for name, _, _ in found] == ["nameless", "two.json"]
    assert [place and place.read_bytes() for _, place, _ in found] == [LINE, LINE]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_mutated_zip_is_read_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/one.json", LINE * 50)
        archive.writestr("two.json", b"x")
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[at] = data.draw(st.integers(0, 255))
        elif len(content) > 60:
            del content[at : at + data.draw(st.integers(1, 30))]
    folder = tmp_path_factory.mktemp("zip")
    (folder / "a.zip").write_bytes(content)
    try:
        found = unpack_zip(folder / "a.zip", folder / "out", ZipCaps(total_bytes=1 << 20))
    except (InputError, LimitError):
        return
    whole = {place for _, place, reason in found if reason is None}
    assert whole == set((folder / "out").iterdir())
