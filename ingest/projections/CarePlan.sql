-- CarePlan → CARE_PLAN//… for each category, and for each activity: that it was planned, not done.
--
-- `time` of the plan: `created`, else the later of the start of `period` and the encounter's end; while
-- that goes on, none. Activities can be added as long as a plan runs, and nothing says when: they count
-- from the version that we have (`meta.lastUpdated`), where it says so.
-- Drafts, proposals, options, what was revoked or entered in error are skipped; activities that were
-- cancelled, entered in error or are not to be done (`doNotPerform`) are left out. An activity that is
-- kept as a resource of its own (`reference`) comes with that.
--
-- texts: intent
-- nested: category activity
-- times: created period.start meta.lastUpdated
WITH dated AS (
    SELECT
        *,
        from_json("category", '["JSON"]') AS categories,
        from_json("activity", '[{"detail": {"code": "JSON", "status": "VARCHAR", "doNotPerform": "BOOLEAN"}}]') AS activities,
        coalesce(
            "created.last",
            CASE WHEN NOT encounter_goes_on THEN greatest("period.start.last", encounter_end) END
        ) AS known,
        coalesce(
            "created.first",
            CASE WHEN NOT encounter_goes_on THEN greatest("period.start.first", encounter_end_from) END
        ) AS known_from,
        CASE WHEN status IN ('draft', 'revoked', 'entered-in-error') THEN status
             WHEN "intent" IN ('proposal', 'option') THEN 'intent ' || "intent" END AS void
    FROM resource
),
planned AS (
    SELECT place, subject_key, known, known_from, void, concept(unnest(categories)) AS c, NULL AS off
    FROM dated
    UNION ALL
    SELECT
        place, subject_key, greatest(known, updated), greatest(known_from, "meta.lastUpdated.first"), void,
        concept(a.detail.code),
        CASE WHEN a.detail.status IN ('cancelled', 'entered-in-error') THEN 'activity ' || a.detail.status
             WHEN a.detail.doNotPerform THEN 'do not perform' END
    FROM (SELECT *, unnest(activities) AS a FROM dated) WHERE a.detail IS NOT NULL
)
SELECT
    place, subject_key, known AS time, known_from AS time_from,
    'CARE_PLAN//' || c.code AS code,
    c.display AS display,
    list_prepend(c.code, c.parents) AS parents,
    coalesce(void, off, CASE WHEN c.code IS NULL THEN 'no code' END) AS skip
FROM planned
UNION ALL
SELECT place, subject_key, NULL, NULL, NULL, NULL, NULL, coalesce(void, 'no code')
FROM dated WHERE len(coalesce(categories, [])) = 0 AND len(coalesce(activities, [])) = 0
