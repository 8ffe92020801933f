"""What the page says, in English and 简体中文.

Every sentence of the page stands here once in each language; a test checks that both have the same
placeholders. Titles and descriptions of tasks and codes come from the cohort and the store and are
shown as they were written there.
"""

from collections.abc import Mapping
from typing import Literal

__all__ = ["LANGUAGES", "TASKS", "TEXTS", "Language", "language_of", "say"]

Language = Literal["en", "zh"]

LANGUAGES: tuple[tuple[str, Language], ...] = (("English", "en"), ("简体中文", "zh"))
"""Own name of each language, as a reader of it looks for it, and its key."""

TEXTS: Mapping[str, tuple[str, str]] = {
    # the frame
    "tagline": (
        "Disease risks from records, notes and images, with what each contributed",
        "由病历、文书与影像得出疾病风险，并说明各自的作用",
    ),
    "warning_title": ("Not for clinical use.", "不得用于临床。"),
    "warning": (
        "Research software. No medical device. Do not base care of any person on what it says.",
        "研究软件，并非医疗器械。请勿据此作出任何诊疗决定。",
    ),
    "language": ("Language", "语言"),
    "theme": ("Light / dark", "浅色 / 深色"),
    "tab_pick": ("Held-out patients", "留出患者"),
    "tab_upload": ("Upload", "上传"),
    "pick_label": ("Patient and prediction time", "患者与预测时间"),
    "pick_hint": (
        "These patients took no part in fitting or choosing the model. Type to search.",
        "这些患者未参与模型的拟合与选择。可输入以搜索。",
    ),
    "pick_capped": (
        "The first {shown} of {count} are listed.",
        "共 {count} 项，列出前 {shown} 项。",
    ),
    "pick_none": (
        "No store was given, so there is no patient to pick. Upload one instead.",
        "未指定病历库，无患者可选；请改用上传。",
    ),
    "next": ("Next patient", "下一位患者"),
    "upload_button": ("Choose files …", "选择文件……"),
    "upload_hint": (
        "One patient’s FHIR Bundle (R4, R5) or resources (.json, .ndjson) and, if any, images "
        "(.dcm, .png, .jpg). At most {files} files and {megabytes} MB together. The files are read "
        "in a separate, limited process on this machine and deleted at once.",
        "一名患者的 FHIR R4 或 R5 Bundle 或资源（.json、.ndjson），"
        "如有影像可一并上传（.dcm、.png、.jpg）。"
        "最多 {files} 个文件，合计不超过 {megabytes} MB。"
        "文件在本机一个受限的独立进程中读取，随即删除。",
    ),
    "empty_title": ("No patient yet", "尚未选择患者"),
    "empty": (
        "Pick a held-out patient, or upload a record, to see the risks.",
        "选择一名留出患者或上传病历，即可查看风险。",
    ),
    "footer": (
        "Medweave {version} · everything on this page was computed on this machine; nothing was "
        "sent anywhere.",
        "Medweave {version} · 本页内容全部在本机计算，未向任何地方发送数据。",
    ),
    # the patient
    "subject": ("Subject {id}", "对象 {id}"),
    "uploaded_subject": ("Uploaded record", "上传的病历"),
    "years": ("{years} years", "{years} 岁"),
    "sex_F": ("female", "女"),
    "sex_M": ("male", "男"),
    "sex_O": ("other sex", "其他性别"),
    "sex_U": ("sex unknown", "性别不详"),
    "prediction_time": ("Prediction time", "预测时间"),
    "known_until": (
        "Only what was known by then was used.",
        "仅使用截至此时已知的信息。",
    ),
    "n_events": ("{n} events", "{n} 条事件"),
    "n_notes": ("{n} notes", "{n} 份文书"),
    "n_images": ("{n} images", "{n} 幅影像"),
    "one_events": ("1 event", "1 条事件"),
    "one_notes": ("1 note", "1 份文书"),
    "one_images": ("1 image", "1 幅影像"),
    "no_events": ("no events", "无事件"),
    "no_notes": ("no note", "无文书"),
    "no_images": ("no image", "无影像"),
    # risks
    "within_days": ("within {days} days", "{days} 天内"),
    "base_rate": ("Base rate in the training cohort", "训练队列基线率"),
    "times_base": ("{times} × the base rate", "基线率的 {times} 倍"),
    "about_base": ("about the base rate", "与基线率相近"),
    "risk_bar": (
        "Risk {risk}, base rate {base}, on a scale from 0 to {top}",
        "风险 {risk}，基线率 {base}，刻度 0 至 {top}",
    ),
    "concurrent": (
        "This is about the prediction time itself: a status, not a forecast.",
        "这是预测时间当时的状态，并非预后。",
    ),
    "risk_interval": ("95% interval {low} to {high}", "95% 区间 {low} 至 {high}"),
    "risk_interval_hint": (
        "Where the rate lies among patients to whom the model gives this risk. Single patients "
        "differ more.",
        "模型给出此风险的患者中，实际发生率所在的范围。个体间的差异更大。",
    ),
    # Not "the outcome is left": of those with so high a risk, most may still be without it.
    "set_either": (
        "Such a risk is not unusual, with the outcome or without it.",
        "无论结局发生与否，此风险值均不少见。",
    ),
    "set_positive": (
        "Of those in whom it does not occur, fewer than one in ten get so high a risk.",
        "在未发生该结局者中，不到十分之一会得到如此高的风险值。",
    ),
    "set_negative": (
        "Of those in whom it occurs, fewer than one in ten get so low a risk.",
        "在发生该结局者中，不到十分之一会得到如此低的风险值。",
    ),
    "set_neither": (
        "Such a risk is unusual, with the outcome and without it.",
        "无论结局发生与否，此风险值均属少见。",
    ),
    "not_asked": (
        "This record does not reach the moment that the task asks about, so the risk is given at "
        "the time shown. The model was not judged at such times.",
        "该病历未达到任务规定的预测时点，故按所示时间给出风险；模型未在此类时点上评估过。",
    ),
    "contributions": ("What each part contributed", "各部分的作用"),
    "contributions_hint": (
        "Exact Shapley values: percentage points of risk, from {start} with nothing known to "
        "{end}.",
        "精确 Shapley 值：以风险百分点计，从一无所知时的 {start} 到 {end}。",
    ),
    "points": ("{value} pts", "{value} 个百分点"),
    "log_odds": ("log-odds {value}", "对数优势 {value}"),
    "none_on_record": ("none on record", "病历中没有"),
    "no_difference": ("made no difference", "没有影响"),
    "modality_events": ("Events", "事件"),
    "modality_notes": ("Notes", "文书"),
    "modality_images": ("Images", "影像"),
    "model": ("Model that serves", "所用模型"),
    "model_prevalence": ("prevalence alone", "仅用患病率"),
    "model_events_logistic": ("logistic regression on events", "事件的逻辑回归"),
    "model_events_boosting": ("gradient boosting on events", "事件的梯度提升"),
    "model_notes_tfidf": ("word counts of notes", "文书的词频模型"),
    "model_notes_embedding": ("embedded notes", "文书的嵌入模型"),
    "model_images_embedding": ("embedded images", "影像的嵌入模型"),
    "model_average": ("equal-weight average", "等权平均"),
    "model_stacked": ("stacked late fusion", "堆叠晚期融合"),
    "model_notes_finetuned": ("fine-tuned text encoder", "微调的文本编码器"),
    "model_images_finetuned": ("fine-tuned image encoder", "微调的影像编码器"),
    "model_attention": ("attention over all parts", "全部信息的注意力模型"),
    "serves_loss": ("log-loss {loss} where models were chosen", "选模所用行的对数损失 {loss}"),
    "serves_best": (
        "best, before {other} with {loss}, and no simpler model is within one standard error",
        "为最优，其次为{other}（{loss}），且没有更简单的模型落在一个标准误之内",
    ),
    "serves_simpler": (
        "{other} with {loss} is better by {behind}, not more than one standard error of {error}, "
        "and this one is simpler",
        "{other}（{loss}）仅优 {behind}，未超过一个标准误 {error}，故用较简单者",
    ),
    "serves_asked": ("asked for by whoever trained", "由训练者指定"),
    "serves_only": ("the only model", "唯一的模型"),
    "serves_too_few": (
        "the simplest: too few rows with and without the outcome to choose by",
        "最简单者：有、无结局的行数太少，不足以选择",
    ),
    "held_out": (
        "On {n} held-out rows, {positives} positive:",
        "留出集 {n} 行，其中阳性 {positives} 行：",
    ),
    "interval": ("{value} (95% interval {low}–{high})", "{value}（95% 区间 {low}–{high}）"),
    "not_evaluated": ("Not evaluated yet.", "尚未评估。"),
    "auroc": ("AUROC", "AUROC"),
    "auprc": ("AUPRC", "AUPRC"),
    "brier": ("Brier score", "Brier 分数"),
    "ece": ("calibration error", "校准误差"),
    # the timeline
    "timeline": ("Timeline", "时间线"),
    "timeline_hint": (
        "Every mark is an event that was known at the prediction time, the line at the right. "
        "Point at a mark to read it.",
        "每个标记是预测时间（右侧竖线）前已知的一条事件；指向标记可查看内容。",
    ),
    "timeline_log": ("The scale is compressed towards the past.", "时间刻度越往过去越压缩。"),
    "lane_encounter": ("Encounters", "就诊"),
    "lane_condition": ("Conditions", "诊断"),
    "lane_procedure": ("Procedures", "操作"),
    "lane_medicine": ("Medicines", "药物"),
    "lane_measurement": ("Measurements", "测量"),
    "lane_note": ("Notes", "文书"),
    "lane_image": ("Images", "影像"),
    "lane_other": ("Other", "其他"),
    "lane_static": ("Static", "静态"),
    "no_dated": (
        "No dated event was known at the prediction time.",
        "预测时间前没有带日期的事件。",
    ),
    "trends": ("Measurements over time", "测量值的变化"),
    "trend_range": ("{n} values, {low}–{high}", "{n} 个值，{low}–{high}"),
    "trend_once": ("measured once", "测量一次"),
    "trends_more": ("{n} more measurements are in the table.", "另有 {n} 项测量见下表。"),
    "all_events": ("All events, latest first ({n})", "全部事件，最近的在前（{n}）"),
    "events_cut": ("The latest {shown} of {n} are shown.", "共 {n} 条，显示最近 {shown} 条。"),
    "column_when": ("Known", "知晓时间"),
    "column_before": ("Before", "提前"),
    "column_what": ("What", "内容"),
    "column_value": ("Value", "数值"),
    "column_kind": ("Kind", "类别"),
    "always": ("always", "始终"),
    "now": ("prediction", "预测时间"),
    "unit_minute": ("{n} min", "{n} 分钟"),
    "unit_hour": ("{n} h", "{n} 小时"),
    "unit_day": ("{n} d", "{n} 天"),
    "unit_week": ("{n} wk", "{n} 周"),
    "unit_month": ("{n} mo", "{n} 个月"),
    "unit_year": ("{n} y", "{n} 年"),
    "and_more": ("and {n} more", "另有 {n} 条"),
    # notes and images
    "notes": ("Notes", "文书"),
    "notes_none": (
        "No note was known at the prediction time. The risk rests on the rest.",
        "预测时间前没有文书，风险由其余信息得出。",
    ),
    "notes_cut": ("The latest {shown} of {n} are shown.", "共 {n} 份，显示最近 {shown} 份。"),
    "note_long": ("… {n} more characters", "……另有 {n} 个字符"),
    "images": ("Images", "影像"),
    "images_none": (
        "No image was known at the prediction time. The risk rests on the rest.",
        "预测时间前没有影像，风险由其余信息得出。",
    ),
    "images_cut": ("The latest {shown} of {n} are shown.", "共 {n} 幅，显示最近 {shown} 幅。"),
    "image_alt": ("{name}, known {time}", "{name}，{time} 知晓"),
    "image_missing": ("The file of this image is not in the store.", "病历库中缺少该影像文件。"),
    # why in detail
    "detail": ("Say why in detail", "详细说明原因"),
    "detail_hint": (
        "Which events, words and places in the images made the risk. Takes some seconds more, for "
        "an upload too.",
        "哪些事件、词句与影像区域形成了该风险；需多等几秒，上传时亦同。",
    ),
    "why_title": ("Why, in detail", "原因详述"),
    "why_no_cause": (
        "What raises a risk here need not be what makes ill: the model tells patients with such "
        "records apart, and no cause from effect.",
        "此处使风险升高者未必是致病原因：模型只区分病历不同的患者，不辨因果。",
    ),
    "why_sum": (
        "{total} log odds: {there} because there is any, {inside} by what is in it.",
        "对数优势 {total}：{there} 来自有此类信息本身，{inside} 来自其内容。",
    ),
    "why_others": ("{n} others", "其余 {n} 项"),
    "why_lacking": ("{name} (not in the record)", "{name}（病历中没有）"),
    "age": ("Age in years", "年龄（岁）"),
    "rare_codes": ("rare codes", "罕见代码"),
    "rare_codes_of": ("rare codes of {system}", "{system} 的罕见代码"),
    "why_raises": ("raises", "升高"),
    "why_lowers": ("lowers", "降低"),
    "why_sentence": (
        "The number after a sentence is the sentence’s, in log odds; its words add up to it.",
        "句后数字为该句的对数优势，等于其中各词之和。",
    ),
    "why_sentence_alone": (
        "The number after a sentence is the sentence’s, in log odds; this model tells no words "
        "apart.",
        "句后数字为该句的对数优势；此模型无法区分句中各词。",
    ),
    "why_no_further": ("the model reads no further", "模型未读此后内容"),
    "why_heat": ("where it adds", "作用所在"),
    "why_cells": (
        "The model reads cells of {side} x {side}, each of which sees some of its neighbours: "
        "colours are no finer than that.",
        "模型将影像读作 {side} x {side} 个格子，每格也含有邻近信息：颜色的精细程度仅止于此。",
    ),
    "why_unread_notes": (
        "Of {n} notes this model read {read}.",
        "共 {n} 份文书，此模型读取了 {read} 份。",
    ),
    "why_unread_images": (
        "Of {n} images this model read {read}.",
        "共 {n} 幅影像，此模型读取了 {read} 幅。",
    ),
    "why_none": (
        "This model says the same of everybody: nothing in the record matters to it.",
        "此模型对所有人给出相同的风险，病历内容对其没有影响。",
    ),
    # words for codes that name no concept of a code system
    "code_GENDER": ("Sex: {value}", "性别：{value}"),
    "code_MEDS_BIRTH": ("Birth", "出生"),
    "code_MEDS_DEATH": ("Death", "死亡"),
    "code_ENCOUNTER_START": ("Start of {value}", "{value}开始"),
    "code_ENCOUNTER_END": ("End of {value}", "{value}结束"),
    "code_DISPOSITION": ("Discharge: {value}", "出院去向：{value}"),
    "code_TRANSFER": ("Transfer to {value}", "转入 {value}"),
    "code_IMAGE": ("Image {value}", "影像 {value}"),
    "code_IMAGING": ("Imaging study {value}", "影像检查 {value}"),
    "code_NOTE": ("Note ({value})", "文书（{value}）"),
    "code_ORDER": ("Ordered: {value}", "医嘱：{value}"),
    "code_ADMINISTERED": ("Given: {value}", "已给药：{value}"),
    "code_STATED": ("Taken: {value}", "自述用药：{value}"),
    "code_DISPENSED": ("Dispensed: {value}", "已发药：{value}"),
    "code_ALLERGY": ("Allergy: {value}", "过敏：{value}"),
    "code_IMMUNIZATION": ("Immunization: {value}", "接种：{value}"),
    "code_FAMILY": ("Family history: {value}", "家族史：{value}"),
    "code_REPORT": ("Report: {value}", "报告：{value}"),
    "code_ENCOUNTER_TYPE": ("Encounter type: {value}", "就诊类型：{value}"),
    "class_IMP": ("hospital stay", "住院"),
    "class_ACUTE": ("acute hospital stay", "急性住院"),
    "class_NONAC": ("non-acute hospital stay", "非急性住院"),
    "class_AMB": ("outpatient visit", "门诊"),
    "class_EMER": ("emergency visit", "急诊"),
    "class_OBSENC": ("observation stay", "留观"),
    "class_SS": ("short stay", "短期住院"),
    "class_HH": ("home visit", "家庭访视"),
    "class_VR": ("virtual visit", "远程就诊"),
    "class_other": ("encounter ({value})", "就诊（{value}）"),
    "disposition_DIED": ("died", "死亡"),
    "disposition_HOME": ("home", "回家"),
    # remarks and errors: all that a failure may say
    "remark_unlike": (
        "This record is unlike those that the model was trained on ({kind}): of records like "
        "those, at most one in a hundred would be called so. Its risks may be wrong by any amount.",
        "该病历与模型训练所用的病历不同（{kind}）：与训练病历相似者中，至多百分之一会被如此判定。"
        "其风险值可能有任意程度的偏差。",
    ),
    "remark_image_unused": (
        "{n} of the images joined no patient or could not be read, and were left out.",
        "{n} 幅影像无法与患者对应或无法读取，未被使用。",
    ),
    "remark_image_undated": (
        "{n} of the images carried no date; counted as known at the prediction time.",
        "{n} 幅影像没有日期，按预测时刻已知处理。",
    ),
    "remark_quarantined": (
        "{n} records could not be read and were left out.",
        "{n} 条记录无法读取，未被使用。",
    ),
    "error_title": ("That did not work.", "未能完成。"),
    "error_log": ("Log entry {id}", "日志编号 {id}"),
    "error_unknown": (
        "Something went wrong on this machine; the log says what.",
        "本机处理时出错；详情见日志。",
    ),
    "error_usage": ("That cannot be asked.", "无法这样请求。"),
    "error_input": (
        "The files hold no FHIR record that could be read.",
        "文件中没有可读取的 FHIR 记录。",
    ),
    "error_store": ("The record store could not be read.", "病历库无法读取。"),
    "error_run": ("The trained run could not be read.", "训练结果无法读取。"),
    "error_limit": (
        "The upload is over a limit on size, memory or time.",
        "上传内容超出大小、内存或时间限制。",
    ),
    "error_several": (
        "The upload holds more than one patient; upload one at a time.",
        "上传内容包含多名患者；请每次上传一名。",
    ),
    "error_nobody": ("The upload holds no patient.", "上传内容中没有患者。"),
    "error_kind": (
        "Only .json, .ndjson, .dcm, .png and .jpg files are read.",
        "仅读取 .json、.ndjson、.dcm、.png 与 .jpg 文件。",
    ),
    "error_unknown_subject": (
        "There is no such patient among the held-out ones.",
        "留出患者中没有此人。",
    ),
}


TASKS: Mapping[str, tuple[str, str]] = {
    "heart_failure_1y": (
        "一年内发生心力衰竭",
        "尚无心力衰竭的患者在一次门诊就诊后 365 天内首次被诊断为心力衰竭的风险；于就诊结束时预测。",
    ),
    "mimic_died_in_hospital": (
        "住院期间死亡",
        "入院 24 小时后仍在院且存活的患者在本次住院期间死亡的风险。",
    ),
    "covid_severity": (
        "首次胸片后病情转重",
        "首次正位胸片后出现重症（死亡、重症监护或插管）的风险，依据拍片时已知的信息。"
        "数据来自已发表的病例报告，重症比例反映的是发表情况，而非任何医院的实际情况。",
    ),
    "hannover_icu": (
        "拍片时处于重症监护",
        "拍片时患者是否在重症监护病房：当时的状态，并非预后。",
    ),
}
"""Chinese title and description of the tasks that come with the project; a task's own file has
English. Others are shown as their authors wrote them."""


def say(language: Language, key: str, **values: object) -> str:
    """Say the text of a key in a language; the result is plain text, not HTML.

    >>> say("en", "n_notes", n=3), say("zh", "n_notes", n=3)
    ('3 notes', '3 份文书')
    """
    english, chinese = TEXTS[key]
    return (chinese if language == "zh" else english).format(**values)


def language_of(accepted: str | None) -> Language:
    """Choose the language that an Accept-Language header (or a `lang` parameter) asks for first.

    >>> language_of("zh-CN,zh;q=0.9,en;q=0.8"), language_of("de, en"), language_of(None)
    ('zh', 'en', 'en')
    """
    first = (accepted or "").split(",")[0].strip().lower()
    return "zh" if first.startswith("zh") else "en"
