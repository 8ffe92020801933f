"""Write notes as strangers would send them: PDF by hand, C-CDA in HL7's shape."""

import zlib

TEXT = b"BT /F1 12 Tf 50 700 Td (No pleural effusion.) Tj ET"


def write_pdf(
    content: bytes = TEXT, *, filters: bytes = b"/FlateDecode", drawn: list[bytes] | None = None
) -> bytes:
    """Write a PDF of one page; `content` is its stream as it lies, `drawn` are forms X0, X1, …"""
    if filters == b"/FlateDecode" and not content.startswith(b"\x78"):
        content = zlib.compress(content)
    forms = drawn or []
    names = b" ".join(b"/X%d %d 0 R" % (i, 6 + i) for i in range(len(forms)))
    uses = b"/Resources<</Font<</F1 5 0 R>>/XObject<<" + names + b">>>>"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R" + uses + b">>",
        _stream(content, b"/Filter" + filters),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        *(_stream(form, b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]" + uses) for form in forms),
    ]
    out, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj" % number + body + b"endobj\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    return (
        out
        + b"xref\n0 %d\n0000000000 65535 f \n" % size
        + table
        + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (size, len(out))
    )


def inflates_to(mebibytes: int) -> bytes:
    """Deflate zeros: one block that stands by itself, again and again."""
    packer = zlib.compressobj(9)
    zeros = bytes(1 << 20)
    begin = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    return begin + block * (mebibytes - 1) + packer.flush()


def _stream(content: bytes, says: bytes) -> bytes:
    head = b"<<" + says + b"/Length %d>>stream\n" % len(content)
    return head + content + b"\nendstream"


CCDA = """<?xml version="1.0" encoding="UTF-8"?>
<?xml-stylesheet type="text/xsl" href="CDA.xsl"?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:sdtc="urn:hl7-org:sdtc"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <realmCode code="US"/>
  <typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
  <templateId root="2.16.840.1.113883.10.20.22.1.2" extension="2015-08-01"/>
  <id root="2.16.840.1.113883.19.5.99999.1" extension="TT988"/>
  <code code="34133-9" codeSystem="2.16.840.1.113883.6.1" displayName="Summary of episode note"/>
  <title>Continuity of care</title>
  <effectiveTime value="20240301101500+0000"/>
  <recordTarget><patientRole><patient><name><given>Eve</given></name></patient></patientRole>
  </recordTarget>
  <component><structuredBody>
    <component><section>
      <templateId root="2.16.840.1.113883.10.20.22.2.6.1"/>
      <code code="48765-2" codeSystem="2.16.840.1.113883.6.1"/>
      <title>Allergies</title>
      <text>
        <table border="1">
          <thead><tr><th>Substance</th><th>Reaction</th></tr></thead>
          <tbody>
            <tr ID="a1"><td><content ID="s1">Penicillin G</content></td><td>Hives</td></tr>
            <tr><td>Latex</td><td>No known
                reaction</td></tr>
          </tbody>
        </table>
      </text>
      <entry typeCode="DRIV"><act classCode="ACT" moodCode="EVN"><text>coded twin</text></act>
      </entry>
    </section></component>
    <component><section>
      <title>History</title>
      <text><paragraph>She does <content styleCode="Bold">not</content> smoke.<br/>No fever,
        <content revised="delete">cough,</content> no <sub>night</sub> sweats &amp; no pain &lt;
        3 days.</paragraph>
        <list listType="unordered"><caption>Denies</caption><item>chest pain</item>
          <item>dyspnoea</item></list></text>
      <component><section><title>Family</title><text>No diabetes.</text></section></component>
    </section></component>
  </structuredBody></component>
</ClinicalDocument>
"""
