-- What people say of hits: whether an image is right for a query. A query is a text or an image of the
-- collection; the other is empty. Neither names a model, so judgements outlive models.
CREATE TABLE clip_assets.human_judgement (
    judgement_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection   text NOT NULL,
    query_text   text NOT NULL,
    query_image  text NOT NULL,
    image_id     text NOT NULL,
    is_right     boolean NOT NULL,
    judged_by    text NOT NULL,
    judged_at    timestamptz NOT NULL DEFAULT now(),
    CHECK ((query_text = '') <> (query_image = ''))
);

-- One word of each person on an image for a query; hashes, because an index row holds 2,700 bytes.
CREATE UNIQUE INDEX human_judgement_once ON clip_assets.human_judgement (
    collection, md5(query_text), md5(query_image),
    md5(image_id), judged_by
);
