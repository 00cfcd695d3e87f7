-- A judged query may be of several weighted terms, too: a JSON array of texts and stored images.
ALTER TABLE clip_assets.human_judgement ADD COLUMN query_terms jsonb NOT NULL DEFAULT '[]';

ALTER TABLE clip_assets.human_judgement
    DROP CONSTRAINT human_judgement_check,
    ADD CONSTRAINT human_judgement_one_query
        CHECK (num_nonnulls(nullif(query_text, ''), nullif(query_image, ''),
                            nullif(query_terms, '[]')) = 1);

DROP INDEX clip_assets.human_judgement_once;
CREATE UNIQUE INDEX human_judgement_once ON clip_assets.human_judgement (
    collection, md5(query_text), md5(query_image), md5(query_terms::text), md5(image_id), judged_by
);
