-- A database of the last version that did not number its migrations, dumped by pg_dump --inserts;
-- comments removed. Of the three releases of `photos`, the first has lost its table.

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

CREATE SCHEMA clip_assets;

CREATE SCHEMA photos;

CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;

COMMENT ON EXTENSION vector IS 'vector data type and ivfflat and hnsw access methods';

CREATE FUNCTION photos.search(query public.halfvec, k integer DEFAULT 10, shards text[] DEFAULT NULL::text[], uri_prefix text DEFAULT NULL::text, words text DEFAULT NULL::text, min_width integer DEFAULT NULL::integer, max_width integer DEFAULT NULL::integer, min_height integer DEFAULT NULL::integer, max_height integer DEFAULT NULL::integer) RETURNS TABLE(image_id text, score double precision, caption text, uri text, sha256 text, shard text)
    LANGUAGE plpgsql STABLE
    SET "hnsw.ef_search" TO '40'
    SET "hnsw.iterative_scan" TO 'relaxed_order'
    SET "hnsw.max_scan_tuples" TO '2147483647'
    SET "hnsw.scan_mem_multiplier" TO '16'
    SET plan_cache_mode TO 'force_custom_plan'
    SET enable_seqscan TO 'on'
    SET enable_sort TO 'on'
    AS $$
#variable_conflict use_column
DECLARE
    filtered boolean := num_nonnulls(
        shards, uri_prefix, words, min_width, max_width, min_height, max_height) > 0;
BEGIN
    IF filtered AND (
        SELECT count(*) FROM (
            SELECT FROM clip_assets."images_3" WHERE -- What a filter lets through. Whatever is not asked for is NULL, and folds away in a custom plan.
("shards"::text[] IS NULL OR shard = ANY ("shards"::text[]))
AND ("uri_prefix"::text IS NULL OR uri ^@ "uri_prefix"::text)
AND ("words"::text IS NULL
     OR to_tsvector('simple', caption) @@ plainto_tsquery('simple', "words"::text))
AND ("min_width"::int IS NULL OR width >= "min_width"::int)
AND ("max_width"::int IS NULL OR width <= "max_width"::int)
AND ("min_height"::int IS NULL OR height >= "min_height"::int)
AND ("max_height"::int IS NULL OR height <= "max_height"::int) LIMIT 78 + 1
        ) AS matching
    ) <= 78 THEN
        -- Few match: all of them are compared. The sum is no order that the HNSW knows.
        RETURN QUERY
        SELECT near.image_id, 1 - near.distance, near.caption, near.uri, near.sha256, near.shard
        FROM (SELECT *, (embedding <=> query::"halfvec") + 0 AS distance FROM clip_assets."images_3"
              WHERE -- What a filter lets through. Whatever is not asked for is NULL, and folds away in a custom plan.
("shards"::text[] IS NULL OR shard = ANY ("shards"::text[]))
AND ("uri_prefix"::text IS NULL OR uri ^@ "uri_prefix"::text)
AND ("words"::text IS NULL
     OR to_tsvector('simple', caption) @@ plainto_tsquery('simple', "words"::text))
AND ("min_width"::int IS NULL OR width >= "min_width"::int)
AND ("max_width"::int IS NULL OR width <= "max_width"::int)
AND ("min_height"::int IS NULL OR height >= "min_height"::int)
AND ("max_height"::int IS NULL OR height <= "max_height"::int)) AS near
        ORDER BY near.distance + 0, near.image_id LIMIT k;
    ELSE
        PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true);
        RETURN QUERY
        SELECT near.image_id, 1 - near.distance, near.caption, near.uri, near.sha256, near.shard
        FROM (SELECT *, embedding <=> query::"halfvec" AS distance FROM clip_assets."images_3"
              WHERE -- What a filter lets through. Whatever is not asked for is NULL, and folds away in a custom plan.
("shards"::text[] IS NULL OR shard = ANY ("shards"::text[]))
AND ("uri_prefix"::text IS NULL OR uri ^@ "uri_prefix"::text)
AND ("words"::text IS NULL
     OR to_tsvector('simple', caption) @@ plainto_tsquery('simple', "words"::text))
AND ("min_width"::int IS NULL OR width >= "min_width"::int)
AND ("max_width"::int IS NULL OR width <= "max_width"::int)
AND ("min_height"::int IS NULL OR height >= "min_height"::int)
AND ("max_height"::int IS NULL OR height <= "max_height"::int) ORDER BY embedding <=> query::"halfvec"
              LIMIT k * CASE WHEN filtered THEN 3 ELSE 1 END) AS near
        ORDER BY near.distance + 0, near.image_id LIMIT k;
    END IF;
END
$$;

CREATE FUNCTION photos."similar"(to_image text, k integer DEFAULT 10) RETURNS TABLE(image_id text, score double precision, caption text, uri text, sha256 text, shard text)
    LANGUAGE sql STABLE
    SET "hnsw.ef_search" TO '40'
    SET "hnsw.iterative_scan" TO 'relaxed_order'
    AS $$
    SELECT near.image_id, 1 - near.distance, near.caption, near.uri, near.sha256, near.shard
    FROM clip_assets."images_3" AS origin,
         LATERAL (SELECT *, embedding <=> origin.embedding AS distance FROM clip_assets."images_3"
                  ORDER BY embedding <=> origin.embedding LIMIT k + 1) AS near
    WHERE origin.image_id = to_image AND near.image_id <> to_image
    ORDER BY near.distance + 0, near.image_id
    LIMIT k
$$;

SET default_tablespace = '';

SET default_table_access_method = heap;

CREATE TABLE clip_assets.applied_schema (
    sha256 text NOT NULL
);

CREATE TABLE clip_assets.erased (
    collection text NOT NULL,
    image_id text NOT NULL,
    sha256 text,
    erasure text NOT NULL,
    copy_of_asked boolean NOT NULL,
    index_ids bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    erased_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE clip_assets.images_2 (
    shard text NOT NULL,
    "row" integer NOT NULL,
    image_id text NOT NULL,
    uri text NOT NULL,
    caption text,
    sha256 text NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    embedding public.halfvec(8) NOT NULL
);

CREATE TABLE clip_assets.images_3 (
    shard text NOT NULL,
    "row" integer NOT NULL,
    image_id text NOT NULL,
    uri text NOT NULL,
    caption text,
    sha256 text NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    embedding public.halfvec(8) NOT NULL
);

CREATE TABLE clip_assets.index (
    index_id bigint NOT NULL,
    collection text NOT NULL,
    slug text NOT NULL,
    identity_key text NOT NULL,
    identity jsonb NOT NULL,
    spec jsonb NOT NULL,
    dim integer NOT NULL,
    judgement jsonb,
    vector_type text DEFAULT 'halfvec'::text NOT NULL
);

ALTER TABLE clip_assets.index ALTER COLUMN index_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME clip_assets.index_index_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE clip_assets.ledger (
    index_id bigint NOT NULL,
    shard text NOT NULL,
    version integer NOT NULL,
    digest text NOT NULL,
    commit_path text NOT NULL,
    rows bigint NOT NULL,
    rejected bigint NOT NULL,
    checksum bigint NOT NULL,
    run_id text NOT NULL,
    job_id text NOT NULL,
    device text NOT NULL,
    loaded_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE clip_assets.live (
    collection text NOT NULL,
    release_id bigint NOT NULL
);

CREATE TABLE clip_assets.release (
    release_id bigint NOT NULL,
    collection text NOT NULL,
    index_id bigint NOT NULL,
    content text NOT NULL,
    ef_search integer NOT NULL,
    rows bigint NOT NULL,
    judgement jsonb NOT NULL,
    run_id text NOT NULL,
    published_at timestamp with time zone DEFAULT now() NOT NULL,
    report jsonb,
    dropped_at timestamp with time zone
);

ALTER TABLE clip_assets.release ALTER COLUMN release_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME clip_assets.release_release_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE clip_assets.thumbnail (
    sha256 text NOT NULL,
    webp bytea NOT NULL
);
ALTER TABLE ONLY clip_assets.thumbnail ALTER COLUMN webp SET STORAGE EXTERNAL;

CREATE VIEW photos.images AS
 SELECT t.image_id,
    t.caption,
    t.uri,
    t.sha256,
    t.width,
    t.height,
    t.shard,
    t."row",
    (t.embedding)::public.halfvec AS embedding,
    l.version AS shard_version,
    l.run_id,
    l.job_id,
    l.device,
    l.loaded_at,
    (3)::bigint AS release_id,
    'third'::text AS model
   FROM (clip_assets.images_3 t
     JOIN clip_assets.ledger l ON (((l.index_id = 3) AND (l.shard = t.shard))));

CREATE VIEW photos.embeddings AS
 SELECT image_id,
    embedding,
    shard,
    "row",
    release_id,
    model
   FROM photos.images;

CREATE VIEW photos.releases AS
 SELECT r.release_id,
    (r.release_id = l.release_id) AS live,
    (i.identity ->> 'name'::text) AS model,
    r.rows,
    r.ef_search,
    r.run_id,
    r.published_at,
    r.dropped_at,
    r.judgement,
    r.report,
    i.vector_type
   FROM ((clip_assets.release r
     JOIN clip_assets.index i USING (index_id))
     JOIN clip_assets.live l ON ((l.collection = r.collection)))
  WHERE (r.collection = 'photos'::text);

CREATE VIEW photos.shards AS
 SELECT shard,
    version,
    rows,
    rejected,
    commit_path,
    digest,
    run_id,
    job_id,
    device,
    loaded_at
   FROM clip_assets.ledger
  WHERE (index_id = 3);

INSERT INTO clip_assets.applied_schema VALUES
	('1678fd216e865c5dac298d48bfac8284c1ea15d179d7caa55040057055ba0fff');

INSERT INTO clip_assets.images_2 VALUES
	('00001', 0, '00001-0000.jpg', '/pictures/00001-0000.jpg', NULL, '6f5af2a7b3bced1b35ee850a54cd913309519020fc1558817f0928985ad02652', 40, 30, '[0.11016846,-0.22595215,-0.61865234,0.08355713,-0.2199707,0.69628906,-0.11657715,0.015296936]'),
	('00001', 1, '00001-0001.jpg', '/pictures/00001-0001.jpg', 'caption 1 of 1001', '2a385883b03d97237d9ad87494a36a704812e5af42a9557a332db6eb5936f0e2', 41, 30, '[0.3383789,0.01361084,-0.20544434,-0.60791016,0.34960938,0.14001465,-0.13317871,-0.5600586]'),
	('00001', 2, '00001-0002.jpg', '/pictures/00001-0002.jpg', 'caption 2 of 1001', 'd2f4550e754d07be6bc9a73bcd990e15070c2f05c9054b386740ac8afebd3d4e', 42, 30, '[-0.15661621,-0.16625977,-0.5786133,0.11376953,0.47094727,0.47753906,0.38671875,-0.021942139]'),
	('00001', 3, '00001-0003.jpg', '/pictures/00001-0003.jpg', NULL, 'a32f05682463ca1fff129a260333b64f938e6deae8e9fdf165615e82ae65784a', 43, 30, '[-0.010688782,-0.05053711,0.26171875,-0.0736084,-0.5131836,-0.375,0.3894043,0.6064453]'),
	('00001', 4, '00001-0004.jpg', '/pictures/00001-0004.jpg', 'caption 4 of 1001', '9da6277166339e7ae498bfe5eac0b6a1da14ac6b83b3d80014465bd077651755', 44, 30, '[0.18310547,0.1928711,0.027297974,-0.03753662,-0.69189453,0.042297363,0.19934082,0.6376953]'),
	('00001', 5, '00001-0005.jpg', '/pictures/00001-0005.jpg', 'caption 5 of 1001', 'db269eb181fbdf5b76911bba4c1e58867bd68919a5846ab0a6e6a39399337235', 45, 30, '[0.40576172,-0.024368286,-0.069885254,-0.6166992,0.2631836,0.3659668,-0.34301758,-0.35864258]'),
	('00000', 0, '00000-0000.jpg', '/pictures/00000-0000.jpg', NULL, 'f15578bd9966698cc656a80a2782378d8243377bff8a277fb6404a736458f0b4', 40, 30, '[0.19848633,-0.07836914,0.5942383,-0.3330078,-0.18762207,0.36767578,-0.11431885,0.5541992]'),
	('00000', 1, '00000-0001.jpg', '/pictures/00000-0001.jpg', 'caption 1 of 1', '2a324f387bdbcc8a4fc85e38137d8331f69f103264229c0583585880900b4fda', 41, 30, '[-0.038879395,-0.10571289,-0.13659668,-0.48901367,-0.6743164,0.18383789,0.22619629,0.43579102]'),
	('00000', 2, '00000-0002.jpg', '/pictures/00000-0002.jpg', 'caption 2 of 1', '702a626bf463efdad50ddbbdd1f2dbe57f19b4a82dc2bd1a7efe740fc5116275', 42, 30, '[0.3857422,0.35717773,-0.38256836,-0.63134766,-0.059173584,-0.25219727,-0.31933594,0.095947266]'),
	('00000', 3, '00000-0003.jpg', '/pictures/00000-0003.jpg', NULL, 'a46dc7a6d031be88cc96640a6f051fffaf57ddbb1d68e81956140374853b68c8', 43, 30, '[0.105407715,-0.29492188,-0.05960083,-0.06500244,0.17248535,0.07305908,-0.37402344,-0.84814453]'),
	('00000', 4, '00000-0004.jpg', '/pictures/00000-0004.jpg', 'caption 4 of 1', '9e5faf4a9c29bcb072e16ca11e160f6aabe71998bf199d325943e839484f5969', 44, 30, '[0.12866211,-0.037902832,-0.05456543,-0.17346191,-0.32910156,-0.11669922,0.7080078,0.5708008]'),
	('00000', 5, '00000-0005.jpg', '/pictures/00000-0005.jpg', 'caption 5 of 1', '8b8768f49f3ae6a66721d03395cbdc0442fefd4c58e550ac4182fb5b809c87b0', 45, 30, '[-0.24487305,-0.2902832,0.35961914,0.73876953,0.029953003,0.4099121,-0.10595703,0.023712158]'),
	('00001', 6, '00001-0006.jpg', '/pictures/00001-0006.jpg', NULL, '98ac6ef8ea70d89691a29e3f806d81b78380ea641190a08feff33dccee6ac261', 46, 30, '[0.2841797,0.265625,0.17980957,-0.43041992,0.15014648,-0.57128906,-0.40429688,0.34399414]'),
	('00001', 7, '00001-0007.jpg', '/pictures/00001-0007.jpg', 'caption 7 of 1001', '6f8830eedc4583a9cd0c5293aa8b94668317d8da5e806f790c4b4ff84cb7a606', 47, 30, '[0.5317383,0.3618164,-0.52783203,0.3798828,-0.0054359436,0.24499512,0.22998047,0.22521973]'),
	('00001', 8, '00001-0008.jpg', '/pictures/00001-0008.jpg', 'caption 8 of 1001', 'd8e9af317dca58a0a1312a9743a42e142f7dc326fc35387b70ab6a5d4fab0906', 48, 30, '[0.29614258,-0.087768555,-0.55566406,-0.20837402,-0.46166992,0.08050537,-0.57177734,-0.077819824]'),
	('00001', 9, '00001-0009.jpg', '/pictures/00001-0009.jpg', NULL, '2b6c4a4beb0f9f626e6af2dbc3bb76fb442e82b694f9c943b16504f342484ef9', 49, 30, '[-0.18310547,-0.38720703,-0.0657959,-0.20117188,-0.7949219,0.1361084,-0.3203125,-0.13671875]'),
	('00001', 10, '00001-0010.jpg', '/pictures/00001-0010.jpg', 'caption 10 of 1001', 'ce2359f0be4590a98d067333498aca89f2e3e655bdc6064d6e1ab95ec414b358', 50, 30, '[0.07501221,-0.076416016,0.5288086,0.67285156,0.09942627,-0.44604492,-0.18615723,0.1126709]'),
	('00001', 11, '00001-0011.jpg', '/pictures/00001-0011.jpg', 'caption 11 of 1001', '2fceec96016416c67a5a4870298a0a2941e65bda2501fc97a4c447b13ffe831c', 51, 30, '[0.039245605,0.39819336,-0.13842773,0.2919922,0.11175537,-0.4169922,0.123046875,0.73095703]'),
	('00000', 6, '00000-0006.jpg', '/pictures/00000-0006.jpg', NULL, '29e60d94eb658864448199d14f9dc31d022bc6953373fa9a102a11891f1ece89', 46, 30, '[-0.01675415,-0.6826172,-0.20178223,0.10461426,-0.15942383,0.46289062,0.0075683594,0.49194336]'),
	('00000', 7, '00000-0007.jpg', '/pictures/00000-0007.jpg', 'caption 7 of 1', '805de8fb308959bafe99de956785f7990f305e6327056ac49a1f376c8cd30ac3', 47, 30, '[-0.090270996,-0.34228516,-0.5961914,-0.13012695,-0.22167969,0.5136719,-0.42749023,0.07897949]'),
	('00000', 8, '00000-0008.jpg', '/pictures/00000-0008.jpg', 'caption 8 of 1', '0852ef375ec5f8b6796a942870075c9d93b4944bfe5bb5626e174bd45a736ea3', 48, 30, '[0.3791504,0.23876953,-0.17907715,0.5317383,-0.3305664,0.26879883,0.38012695,0.39819336]'),
	('00000', 9, '00000-0009.jpg', '/pictures/00000-0009.jpg', NULL, '6358b8298a3a8b4d8f043796033f640cc30e3931fc526c1e251bea2c208b7b12', 49, 30, '[0.6074219,0.36645508,0.2878418,-0.38208008,-0.34399414,-0.021209717,-0.26513672,0.28100586]'),
	('00000', 10, '00000-0010.jpg', '/pictures/00000-0010.jpg', 'caption 10 of 1', '5cfd5507427c056f07bfa04ff5a2f46b7de105d32abac1d535c5eece6eca4fec', 50, 30, '[0.31762695,0.35864258,-0.65478516,0.47094727,0.27001953,0.18029785,0.098083496,0.07098389]'),
	('00000', 11, '00000-0011.jpg', '/pictures/00000-0011.jpg', 'caption 11 of 1', 'c045a6f27078cc97b4a41ddb91ef0461eadc7806b11155d80404c666624ed67c', 51, 30, '[0.26513672,-0.44311523,0.41308594,0.36914062,-0.06109619,-0.5517578,-0.09326172,0.33081055]');

INSERT INTO clip_assets.images_3 VALUES
	('00000', 0, '00000-0000.jpg', '/pictures/00000-0000.jpg', NULL, 'f15578bd9966698cc656a80a2782378d8243377bff8a277fb6404a736458f0b4', 40, 30, '[0.19848633,-0.07836914,0.5942383,-0.3330078,-0.18762207,0.36767578,-0.11431885,0.5541992]'),
	('00000', 1, '00000-0001.jpg', '/pictures/00000-0001.jpg', 'caption 1 of 1', '2a324f387bdbcc8a4fc85e38137d8331f69f103264229c0583585880900b4fda', 41, 30, '[-0.038879395,-0.10571289,-0.13659668,-0.48901367,-0.6743164,0.18383789,0.22619629,0.43579102]'),
	('00000', 2, '00000-0002.jpg', '/pictures/00000-0002.jpg', 'caption 2 of 1', '702a626bf463efdad50ddbbdd1f2dbe57f19b4a82dc2bd1a7efe740fc5116275', 42, 30, '[0.3857422,0.35717773,-0.38256836,-0.63134766,-0.059173584,-0.25219727,-0.31933594,0.095947266]'),
	('00000', 3, '00000-0003.jpg', '/pictures/00000-0003.jpg', NULL, 'a46dc7a6d031be88cc96640a6f051fffaf57ddbb1d68e81956140374853b68c8', 43, 30, '[0.105407715,-0.29492188,-0.05960083,-0.06500244,0.17248535,0.07305908,-0.37402344,-0.84814453]'),
	('00000', 4, '00000-0004.jpg', '/pictures/00000-0004.jpg', 'caption 4 of 1', '9e5faf4a9c29bcb072e16ca11e160f6aabe71998bf199d325943e839484f5969', 44, 30, '[0.12866211,-0.037902832,-0.05456543,-0.17346191,-0.32910156,-0.11669922,0.7080078,0.5708008]'),
	('00000', 5, '00000-0005.jpg', '/pictures/00000-0005.jpg', 'caption 5 of 1', '8b8768f49f3ae6a66721d03395cbdc0442fefd4c58e550ac4182fb5b809c87b0', 45, 30, '[-0.24487305,-0.2902832,0.35961914,0.73876953,0.029953003,0.4099121,-0.10595703,0.023712158]'),
	('00001', 0, '00001-0000.jpg', '/pictures/00001-0000.jpg', NULL, '6f5af2a7b3bced1b35ee850a54cd913309519020fc1558817f0928985ad02652', 40, 30, '[0.11016846,-0.22595215,-0.61865234,0.08355713,-0.2199707,0.69628906,-0.11657715,0.015296936]'),
	('00001', 1, '00001-0001.jpg', '/pictures/00001-0001.jpg', 'caption 1 of 1001', '2a385883b03d97237d9ad87494a36a704812e5af42a9557a332db6eb5936f0e2', 41, 30, '[0.3383789,0.01361084,-0.20544434,-0.60791016,0.34960938,0.14001465,-0.13317871,-0.5600586]'),
	('00001', 2, '00001-0002.jpg', '/pictures/00001-0002.jpg', 'caption 2 of 1001', 'd2f4550e754d07be6bc9a73bcd990e15070c2f05c9054b386740ac8afebd3d4e', 42, 30, '[-0.15661621,-0.16625977,-0.5786133,0.11376953,0.47094727,0.47753906,0.38671875,-0.021942139]'),
	('00001', 3, '00001-0003.jpg', '/pictures/00001-0003.jpg', NULL, 'a32f05682463ca1fff129a260333b64f938e6deae8e9fdf165615e82ae65784a', 43, 30, '[-0.010688782,-0.05053711,0.26171875,-0.0736084,-0.5131836,-0.375,0.3894043,0.6064453]'),
	('00001', 4, '00001-0004.jpg', '/pictures/00001-0004.jpg', 'caption 4 of 1001', '9da6277166339e7ae498bfe5eac0b6a1da14ac6b83b3d80014465bd077651755', 44, 30, '[0.18310547,0.1928711,0.027297974,-0.03753662,-0.69189453,0.042297363,0.19934082,0.6376953]'),
	('00001', 5, '00001-0005.jpg', '/pictures/00001-0005.jpg', 'caption 5 of 1001', 'db269eb181fbdf5b76911bba4c1e58867bd68919a5846ab0a6e6a39399337235', 45, 30, '[0.40576172,-0.024368286,-0.069885254,-0.6166992,0.2631836,0.3659668,-0.34301758,-0.35864258]'),
	('00000', 6, '00000-0006.jpg', '/pictures/00000-0006.jpg', NULL, '29e60d94eb658864448199d14f9dc31d022bc6953373fa9a102a11891f1ece89', 46, 30, '[-0.01675415,-0.6826172,-0.20178223,0.10461426,-0.15942383,0.46289062,0.0075683594,0.49194336]'),
	('00000', 7, '00000-0007.jpg', '/pictures/00000-0007.jpg', 'caption 7 of 1', '805de8fb308959bafe99de956785f7990f305e6327056ac49a1f376c8cd30ac3', 47, 30, '[-0.090270996,-0.34228516,-0.5961914,-0.13012695,-0.22167969,0.5136719,-0.42749023,0.07897949]'),
	('00000', 8, '00000-0008.jpg', '/pictures/00000-0008.jpg', 'caption 8 of 1', '0852ef375ec5f8b6796a942870075c9d93b4944bfe5bb5626e174bd45a736ea3', 48, 30, '[0.3791504,0.23876953,-0.17907715,0.5317383,-0.3305664,0.26879883,0.38012695,0.39819336]'),
	('00000', 9, '00000-0009.jpg', '/pictures/00000-0009.jpg', NULL, '6358b8298a3a8b4d8f043796033f640cc30e3931fc526c1e251bea2c208b7b12', 49, 30, '[0.6074219,0.36645508,0.2878418,-0.38208008,-0.34399414,-0.021209717,-0.26513672,0.28100586]'),
	('00000', 10, '00000-0010.jpg', '/pictures/00000-0010.jpg', 'caption 10 of 1', '5cfd5507427c056f07bfa04ff5a2f46b7de105d32abac1d535c5eece6eca4fec', 50, 30, '[0.31762695,0.35864258,-0.65478516,0.47094727,0.27001953,0.18029785,0.098083496,0.07098389]'),
	('00000', 11, '00000-0011.jpg', '/pictures/00000-0011.jpg', 'caption 11 of 1', 'c045a6f27078cc97b4a41ddb91ef0461eadc7806b11155d80404c666624ed67c', 51, 30, '[0.26513672,-0.44311523,0.41308594,0.36914062,-0.06109619,-0.5517578,-0.09326172,0.33081055]'),
	('00001', 6, '00001-0006.jpg', '/pictures/00001-0006.jpg', NULL, '98ac6ef8ea70d89691a29e3f806d81b78380ea641190a08feff33dccee6ac261', 46, 30, '[0.2841797,0.265625,0.17980957,-0.43041992,0.15014648,-0.57128906,-0.40429688,0.34399414]'),
	('00001', 7, '00001-0007.jpg', '/pictures/00001-0007.jpg', 'caption 7 of 1001', '6f8830eedc4583a9cd0c5293aa8b94668317d8da5e806f790c4b4ff84cb7a606', 47, 30, '[0.5317383,0.3618164,-0.52783203,0.3798828,-0.0054359436,0.24499512,0.22998047,0.22521973]'),
	('00001', 8, '00001-0008.jpg', '/pictures/00001-0008.jpg', 'caption 8 of 1001', 'd8e9af317dca58a0a1312a9743a42e142f7dc326fc35387b70ab6a5d4fab0906', 48, 30, '[0.29614258,-0.087768555,-0.55566406,-0.20837402,-0.46166992,0.08050537,-0.57177734,-0.077819824]'),
	('00001', 9, '00001-0009.jpg', '/pictures/00001-0009.jpg', NULL, '2b6c4a4beb0f9f626e6af2dbc3bb76fb442e82b694f9c943b16504f342484ef9', 49, 30, '[-0.18310547,-0.38720703,-0.0657959,-0.20117188,-0.7949219,0.1361084,-0.3203125,-0.13671875]'),
	('00001', 10, '00001-0010.jpg', '/pictures/00001-0010.jpg', 'caption 10 of 1001', 'ce2359f0be4590a98d067333498aca89f2e3e655bdc6064d6e1ab95ec414b358', 50, 30, '[0.07501221,-0.076416016,0.5288086,0.67285156,0.09942627,-0.44604492,-0.18615723,0.1126709]'),
	('00001', 11, '00001-0011.jpg', '/pictures/00001-0011.jpg', 'caption 11 of 1001', '2fceec96016416c67a5a4870298a0a2941e65bda2501fc97a4c447b13ffe831c', 51, 30, '[0.039245605,0.39819336,-0.13842773,0.2919922,0.11175537,-0.4169922,0.123046875,0.73095703]');

INSERT INTO clip_assets.index OVERRIDING SYSTEM VALUE VALUES
	(2, 'photos', 'second_none_fp32', 'ea1502ed4e90a0070d34a8d22fef901d8fdaff11f4c26b2ffa6b350b8458ed79', '{"dim": 8, "name": "second", "weights": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "untrained": false, "preprocess": "p", "pretrained": "none"}', '{"name": "second", "sha256": null, "precision": "fp32", "pretrained": "none", "untrained_seed": null}', 8, '{"rows": 24, "below": [{"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 2.58, "p99_ms": 11.57}, "filtered": [], "ef_search": 10}, {"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 2.71, "p99_ms": 10.44}, "filtered": [], "ef_search": 20}], "beside": {"text": 0.008333333333333333, "image": 0.0, "model": "first/none@aaaaaaaaaaaa", "texts": 24, "images": 24, "release_id": 1}, "ladder": [{"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 0.74, "p99_ms": 11.8}, "filtered": [{"plan": "compare", "text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "share": 0.5}], "ef_search": 40}], "wanted": {"recall": 0.9, "caption_recall": null}, "content": "468674f7d9c3040e270c39e84ab6afaaaff349984e25f3fc669f1d771e144d82", "ef_search": 40, "hnsw_bytes": 16384, "uses_index": true, "table_bytes": 16384, "caption_recall": 0.2916666666666667, "damaged_shards": [], "caption_queries": 24}', 'halfvec'),
	(3, 'photos', 'third_none_fp32', 'acc99b3ac4603b0126d0b7d84d6513e853c1fdeb717d54b725c32ebb81171f29', '{"dim": 8, "name": "third", "weights": "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc", "untrained": false, "preprocess": "p", "pretrained": "none"}', '{"name": "third", "sha256": null, "precision": "fp32", "pretrained": "none", "untrained_seed": null}', 8, '{"rows": 24, "below": [{"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 7.0, "p99_ms": 25.34}, "filtered": [], "ef_search": 10}, {"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 3.82, "p99_ms": 17.3}, "filtered": [], "ef_search": 20}], "beside": {"text": 1.0, "image": 1.0, "model": "second/none@bbbbbbbbbbbb", "texts": 24, "images": 24, "release_id": 2}, "ladder": [{"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 2.45, "p99_ms": 15.71}, "filtered": [{"plan": "compare", "text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "share": 0.5}], "ef_search": 40}], "wanted": {"recall": 0.9, "caption_recall": null}, "content": "a54dd3b749eaab9d8e5bc0f133513eb9a18de4f53c1f010133c043ff971e0b23", "ef_search": 40, "hnsw_bytes": 16384, "uses_index": true, "table_bytes": 16384, "caption_recall": 0.2916666666666667, "damaged_shards": [], "caption_queries": 24}', 'halfvec'),
	(1, 'photos', 'first_none_fp32', '3800d8dbc32f567be4a0e0ee1ddcc447effd6e1f6ab42480dcb55740e4abda06', '{"dim": 8, "name": "first", "weights": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "untrained": false, "preprocess": "p", "pretrained": "none"}', '{"name": "first", "sha256": null, "precision": "fp32", "pretrained": "none", "untrained_seed": null}', 8, NULL, 'halfvec');

INSERT INTO clip_assets.ledger VALUES
	(2, '00000', 1, '3644870e8c672c005522e3d1abec15cc6a774a18ad70dab04c7cf64852b2f296', 'embeddings/second_none_fp32/00000/v00001-d9522d7deb07/commit.json', 12, 0, 5150122469708898417, 'run-of-00000-v1', 'job-1', 'cpu', '2026-11-26 16:29:53.024277+00'),
	(2, '00001', 1, 'f1858f8e04d337893259f74d6659a16a49bc43fc33f20f077592b009aac56758', 'embeddings/second_none_fp32/00001/v00001-94cf694590ce/commit.json', 12, 0, 1095319352282733133, 'run-of-00001-v1', 'job-1', 'cpu', '2026-11-26 16:29:53.023139+00'),
	(3, '00001', 1, '4e489ee5d56a5492d0c6ecc66214f816b830b19432e4c868a4c99e85006e6c1d', 'embeddings/third_none_fp32/00001/v00001-94cf694590ce/commit.json', 12, 0, 1095319352282733133, 'run-of-00001-v1', 'job-1', 'cpu', '2026-11-26 16:29:54.630942+00'),
	(3, '00000', 1, '1032b79c1b58dfff8ec328860da284d0a72f0d77705471781f3bec69819337ae', 'embeddings/third_none_fp32/00000/v00001-d9522d7deb07/commit.json', 12, 0, 5150122469708898417, 'run-of-00000-v1', 'job-1', 'cpu', '2026-11-26 16:29:54.630674+00');

INSERT INTO clip_assets.live VALUES
	('photos', 3);

INSERT INTO clip_assets.release OVERRIDING SYSTEM VALUE VALUES
	(2, 'photos', 2, '468674f7d9c3040e270c39e84ab6afaaaff349984e25f3fc669f1d771e144d82', 40, 24, '{"rows": 24, "below": [{"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 2.58, "p99_ms": 11.57}, "filtered": [], "ef_search": 10}, {"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 2.71, "p99_ms": 10.44}, "filtered": [], "ef_search": 20}], "beside": {"text": 0.008333333333333333, "image": 0.0, "model": "first/none@aaaaaaaaaaaa", "texts": 24, "images": 24, "release_id": 1}, "ladder": [{"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 0.74, "p99_ms": 11.8}, "filtered": [{"plan": "compare", "text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "share": 0.5}], "ef_search": 40}], "wanted": {"recall": 0.9, "caption_recall": null}, "content": "468674f7d9c3040e270c39e84ab6afaaaff349984e25f3fc669f1d771e144d82", "ef_search": 40, "hnsw_bytes": 16384, "uses_index": true, "table_bytes": 16384, "caption_recall": 0.2916666666666667, "damaged_shards": [], "caption_queries": 24}', 'run-release', '2026-11-26 16:29:54.370793+00', '{"live": {"model": "first/none@aaaaaaaaaaaa", "judgement": {"rows": 2800, "below": [{"text": {"k": 10, "mean": 0.9958333333333333, "lower": 0.9703732026595886, "queries": 120}, "image": {"k": 10, "mean": 0.9983333333333333, "lower": 0.9879872586814109, "queries": 300}, "latency": {"p50_ms": 3.51, "p99_ms": 20.94}, "filtered": [], "ef_search": 10}, {"text": {"k": 10, "mean": 0.9975, "lower": 0.9732887875616572, "queries": 120}, "image": {"k": 10, "mean": 0.9983333333333333, "lower": 0.9879872586814109, "queries": 300}, "latency": {"p50_ms": 1.56, "p99_ms": 12.74}, "filtered": [], "ef_search": 20}], "beside": null, "ladder": [{"text": {"k": 10, "mean": 0.9975, "lower": 0.9732887875616572, "queries": 120}, "image": {"k": 10, "mean": 0.9983333333333333, "lower": 0.9879872586814109, "queries": 300}, "latency": {"p50_ms": 5.54, "p99_ms": 20.92}, "filtered": [{"plan": "walk", "text": {"k": 10, "mean": 1.0, "lower": 0.9779497113990575, "queries": 120}, "image": {"k": 10, "mean": 1.0, "lower": 0.9910616283549861, "queries": 300}, "share": 0.5}, {"plan": "compare", "text": {"k": 10, "mean": 1.0, "lower": 0.9736558329760352, "queries": 100}, "image": {"k": 10, "mean": 1.0, "lower": 0.9736558329760352, "queries": 100}, "share": 0.1}, {"plan": "compare", "text": {"k": 10, "mean": 1.0, "lower": 0.9736558329760352, "queries": 100}, "image": {"k": 10, "mean": 1.0, "lower": 0.9736558329760352, "queries": 100}, "share": 0.01}], "ef_search": 40}], "wanted": {"recall": 0.9, "caption_recall": null}, "content": "8ef8b91ccc6a4f97bd804e2f66611720f5517f8bdb35a2ae3e01b00510ee3859", "ef_search": 40, "hnsw_bytes": 901120, "uses_index": true, "table_bytes": 598016, "caption_recall": 0.0, "damaged_shards": [], "caption_queries": 120}, "vector_type": "halfvec"}, "beside": {"text": 0.008333333333333333, "image": 0.0, "model": "first/none@aaaaaaaaaaaa", "texts": 24, "images": 24, "release_id": 1}, "candidate": {"model": "second/none@bbbbbbbbbbbb", "judgement": {"rows": 24, "below": [{"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 2.58, "p99_ms": 11.57}, "filtered": [], "ef_search": 10}, {"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 2.71, "p99_ms": 10.44}, "filtered": [], "ef_search": 20}], "beside": {"text": 0.008333333333333333, "image": 0.0, "model": "first/none@aaaaaaaaaaaa", "texts": 24, "images": 24, "release_id": 1}, "ladder": [{"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 0.74, "p99_ms": 11.8}, "filtered": [{"plan": "compare", "text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "share": 0.5}], "ef_search": 40}], "wanted": {"recall": 0.9, "caption_recall": null}, "content": "468674f7d9c3040e270c39e84ab6afaaaff349984e25f3fc669f1d771e144d82", "ef_search": 40, "hnsw_bytes": 16384, "uses_index": true, "table_bytes": 16384, "caption_recall": 0.2916666666666667, "damaged_shards": [], "caption_queries": 24}, "vector_type": "halfvec"}}', NULL),
	(3, 'photos', 3, 'a54dd3b749eaab9d8e5bc0f133513eb9a18de4f53c1f010133c043ff971e0b23', 40, 24, '{"rows": 24, "below": [{"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 7.0, "p99_ms": 25.34}, "filtered": [], "ef_search": 10}, {"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 3.82, "p99_ms": 17.3}, "filtered": [], "ef_search": 20}], "beside": {"text": 1.0, "image": 1.0, "model": "second/none@bbbbbbbbbbbb", "texts": 24, "images": 24, "release_id": 2}, "ladder": [{"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 2.45, "p99_ms": 15.71}, "filtered": [{"plan": "compare", "text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "share": 0.5}], "ef_search": 40}], "wanted": {"recall": 0.9, "caption_recall": null}, "content": "a54dd3b749eaab9d8e5bc0f133513eb9a18de4f53c1f010133c043ff971e0b23", "ef_search": 40, "hnsw_bytes": 16384, "uses_index": true, "table_bytes": 16384, "caption_recall": 0.2916666666666667, "damaged_shards": [], "caption_queries": 24}', 'run-release', '2026-11-26 16:29:56.686267+00', '{"live": {"model": "second/none@bbbbbbbbbbbb", "judgement": {"rows": 24, "below": [{"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 2.58, "p99_ms": 11.57}, "filtered": [], "ef_search": 10}, {"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 2.71, "p99_ms": 10.44}, "filtered": [], "ef_search": 20}], "beside": {"text": 0.008333333333333333, "image": 0.0, "model": "first/none@aaaaaaaaaaaa", "texts": 24, "images": 24, "release_id": 1}, "ladder": [{"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 0.74, "p99_ms": 11.8}, "filtered": [{"plan": "compare", "text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "share": 0.5}], "ef_search": 40}], "wanted": {"recall": 0.9, "caption_recall": null}, "content": "468674f7d9c3040e270c39e84ab6afaaaff349984e25f3fc669f1d771e144d82", "ef_search": 40, "hnsw_bytes": 16384, "uses_index": true, "table_bytes": 16384, "caption_recall": 0.2916666666666667, "damaged_shards": [], "caption_queries": 24}, "vector_type": "halfvec"}, "beside": {"text": 1.0, "image": 1.0, "model": "second/none@bbbbbbbbbbbb", "texts": 24, "images": 24, "release_id": 2}, "candidate": {"model": "third/none@cccccccccccc", "judgement": {"rows": 24, "below": [{"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 7.0, "p99_ms": 25.34}, "filtered": [], "ef_search": 10}, {"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 3.82, "p99_ms": 17.3}, "filtered": [], "ef_search": 20}], "beside": {"text": 1.0, "image": 1.0, "model": "second/none@bbbbbbbbbbbb", "texts": 24, "images": 24, "release_id": 2}, "ladder": [{"text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "latency": {"p50_ms": 2.45, "p99_ms": 15.71}, "filtered": [{"plan": "compare", "text": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "image": {"k": 10, "mean": 1.0, "lower": 0.8986846847583809, "queries": 24}, "share": 0.5}], "ef_search": 40}], "wanted": {"recall": 0.9, "caption_recall": null}, "content": "a54dd3b749eaab9d8e5bc0f133513eb9a18de4f53c1f010133c043ff971e0b23", "ef_search": 40, "hnsw_bytes": 16384, "uses_index": true, "table_bytes": 16384, "caption_recall": 0.2916666666666667, "damaged_shards": [], "caption_queries": 24}, "vector_type": "halfvec"}}', NULL),
	(1, 'photos', 1, '8ef8b91ccc6a4f97bd804e2f66611720f5517f8bdb35a2ae3e01b00510ee3859', 40, 2800, '{"rows": 2800, "below": [{"text": {"k": 10, "mean": 0.9958333333333333, "lower": 0.9703732026595886, "queries": 120}, "image": {"k": 10, "mean": 0.9983333333333333, "lower": 0.9879872586814109, "queries": 300}, "latency": {"p50_ms": 3.51, "p99_ms": 20.94}, "filtered": [], "ef_search": 10}, {"text": {"k": 10, "mean": 0.9975, "lower": 0.9732887875616572, "queries": 120}, "image": {"k": 10, "mean": 0.9983333333333333, "lower": 0.9879872586814109, "queries": 300}, "latency": {"p50_ms": 1.56, "p99_ms": 12.74}, "filtered": [], "ef_search": 20}], "beside": null, "ladder": [{"text": {"k": 10, "mean": 0.9975, "lower": 0.9732887875616572, "queries": 120}, "image": {"k": 10, "mean": 0.9983333333333333, "lower": 0.9879872586814109, "queries": 300}, "latency": {"p50_ms": 5.54, "p99_ms": 20.92}, "filtered": [{"plan": "walk", "text": {"k": 10, "mean": 1.0, "lower": 0.9779497113990575, "queries": 120}, "image": {"k": 10, "mean": 1.0, "lower": 0.9910616283549861, "queries": 300}, "share": 0.5}, {"plan": "compare", "text": {"k": 10, "mean": 1.0, "lower": 0.9736558329760352, "queries": 100}, "image": {"k": 10, "mean": 1.0, "lower": 0.9736558329760352, "queries": 100}, "share": 0.1}, {"plan": "compare", "text": {"k": 10, "mean": 1.0, "lower": 0.9736558329760352, "queries": 100}, "image": {"k": 10, "mean": 1.0, "lower": 0.9736558329760352, "queries": 100}, "share": 0.01}], "ef_search": 40}], "wanted": {"recall": 0.9, "caption_recall": null}, "content": "8ef8b91ccc6a4f97bd804e2f66611720f5517f8bdb35a2ae3e01b00510ee3859", "ef_search": 40, "hnsw_bytes": 901120, "uses_index": true, "table_bytes": 598016, "caption_recall": 0.0, "damaged_shards": [], "caption_queries": 120}', 'run-release', '2026-11-26 16:29:52.755537+00', '{"live": null, "beside": null, "candidate": {"model": "first/none@aaaaaaaaaaaa", "judgement": {"rows": 2800, "below": [{"text": {"k": 10, "mean": 0.9958333333333333, "lower": 0.9703732026595886, "queries": 120}, "image": {"k": 10, "mean": 0.9983333333333333, "lower": 0.9879872586814109, "queries": 300}, "latency": {"p50_ms": 3.51, "p99_ms": 20.94}, "filtered": [], "ef_search": 10}, {"text": {"k": 10, "mean": 0.9975, "lower": 0.9732887875616572, "queries": 120}, "image": {"k": 10, "mean": 0.9983333333333333, "lower": 0.9879872586814109, "queries": 300}, "latency": {"p50_ms": 1.56, "p99_ms": 12.74}, "filtered": [], "ef_search": 20}], "beside": null, "ladder": [{"text": {"k": 10, "mean": 0.9975, "lower": 0.9732887875616572, "queries": 120}, "image": {"k": 10, "mean": 0.9983333333333333, "lower": 0.9879872586814109, "queries": 300}, "latency": {"p50_ms": 5.54, "p99_ms": 20.92}, "filtered": [{"plan": "walk", "text": {"k": 10, "mean": 1.0, "lower": 0.9779497113990575, "queries": 120}, "image": {"k": 10, "mean": 1.0, "lower": 0.9910616283549861, "queries": 300}, "share": 0.5}, {"plan": "compare", "text": {"k": 10, "mean": 1.0, "lower": 0.9736558329760352, "queries": 100}, "image": {"k": 10, "mean": 1.0, "lower": 0.9736558329760352, "queries": 100}, "share": 0.1}, {"plan": "compare", "text": {"k": 10, "mean": 1.0, "lower": 0.9736558329760352, "queries": 100}, "image": {"k": 10, "mean": 1.0, "lower": 0.9736558329760352, "queries": 100}, "share": 0.01}], "ef_search": 40}], "wanted": {"recall": 0.9, "caption_recall": null}, "content": "8ef8b91ccc6a4f97bd804e2f66611720f5517f8bdb35a2ae3e01b00510ee3859", "ef_search": 40, "hnsw_bytes": 901120, "uses_index": true, "table_bytes": 598016, "caption_recall": 0.0, "damaged_shards": [], "caption_queries": 120}, "vector_type": "halfvec"}}', '2026-11-26 16:29:56.747479+00');

INSERT INTO clip_assets.thumbnail VALUES
	('0852ef375ec5f8b6796a942870075c9d93b4944bfe5bb5626e174bd45a736ea3', '\x77656270206f662030383532656633373565633566386236373936613934323837303037356339643933623439343462666535626235363236653137346264343561373336656133'),
	('29e60d94eb658864448199d14f9dc31d022bc6953373fa9a102a11891f1ece89', '\x77656270206f662032396536306439346562363538383634343438313939643134663964633331643032326263363935333337336661396131303261313138393166316563653839'),
	('2a324f387bdbcc8a4fc85e38137d8331f69f103264229c0583585880900b4fda', '\x77656270206f662032613332346633383762646263633861346663383565333831333764383333316636396631303332363432323963303538333538353838303930306234666461'),
	('5cfd5507427c056f07bfa04ff5a2f46b7de105d32abac1d535c5eece6eca4fec', '\x77656270206f662035636664353530373432376330353666303762666130346666356132663436623764653130356433326162616331643533356335656563653665636134666563'),
	('6358b8298a3a8b4d8f043796033f640cc30e3931fc526c1e251bea2c208b7b12', '\x77656270206f662036333538623832393861336138623464386630343337393630333366363430636333306533393331666335323663316532353162656132633230386237623132'),
	('702a626bf463efdad50ddbbdd1f2dbe57f19b4a82dc2bd1a7efe740fc5116275', '\x77656270206f662037303261363236626634363365666461643530646462626464316632646265353766313962346138326463326264316137656665373430666335313136323735'),
	('805de8fb308959bafe99de956785f7990f305e6327056ac49a1f376c8cd30ac3', '\x77656270206f662038303564653866623330383935396261666539396465393536373835663739393066333035653633323730353661633439613166333736633863643330616333'),
	('8b8768f49f3ae6a66721d03395cbdc0442fefd4c58e550ac4182fb5b809c87b0', '\x77656270206f662038623837363866343966336165366136363732316430333339356362646330343432666566643463353865353530616334313832666235623830396338376230'),
	('9e5faf4a9c29bcb072e16ca11e160f6aabe71998bf199d325943e839484f5969', '\x77656270206f662039653566616634613963323962636230373265313663613131653136306636616162653731393938626631393964333235393433653833393438346635393639'),
	('a46dc7a6d031be88cc96640a6f051fffaf57ddbb1d68e81956140374853b68c8', '\x77656270206f662061343664633761366430333162653838636339363634306136663035316666666166353764646262316436386538313935363134303337343835336236386338'),
	('c045a6f27078cc97b4a41ddb91ef0461eadc7806b11155d80404c666624ed67c', '\x77656270206f662063303435613666323730373863633937623461343164646239316566303436316561646337383036623131313535643830343034633636363632346564363763'),
	('f15578bd9966698cc656a80a2782378d8243377bff8a277fb6404a736458f0b4', '\x77656270206f662066313535373862643939363636393863633635366138306132373832333738643832343333373762666638613237376662363430346137333634353866306234'),
	('2a385883b03d97237d9ad87494a36a704812e5af42a9557a332db6eb5936f0e2', '\x77656270206f662032613338353838336230336439373233376439616438373439346133366137303438313265356166343261393535376133333264623665623539333666306532'),
	('2b6c4a4beb0f9f626e6af2dbc3bb76fb442e82b694f9c943b16504f342484ef9', '\x77656270206f662032623663346134626562306639663632366536616632646263336262373666623434326538326236393466396339343362313635303466333432343834656639'),
	('2fceec96016416c67a5a4870298a0a2941e65bda2501fc97a4c447b13ffe831c', '\x77656270206f662032666365656339363031363431366336376135613438373032393861306132393431653635626461323530316663393761346334343762313366666538333163'),
	('6f5af2a7b3bced1b35ee850a54cd913309519020fc1558817f0928985ad02652', '\x77656270206f662036663561663261376233626365643162333565653835306135346364393133333039353139303230666331353538383137663039323839383561643032363532'),
	('6f8830eedc4583a9cd0c5293aa8b94668317d8da5e806f790c4b4ff84cb7a606', '\x77656270206f662036663838333065656463343538336139636430633532393361613862393436363833313764386461356538303666373930633462346666383463623761363036'),
	('98ac6ef8ea70d89691a29e3f806d81b78380ea641190a08feff33dccee6ac261', '\x77656270206f662039386163366566386561373064383936393161323965336638303664383162373833383065613634313139306130386665666633336463636565366163323631'),
	('9da6277166339e7ae498bfe5eac0b6a1da14ac6b83b3d80014465bd077651755', '\x77656270206f662039646136323737313636333339653761653439386266653565616330623661316461313461633662383362336438303031343436356264303737363531373535'),
	('a32f05682463ca1fff129a260333b64f938e6deae8e9fdf165615e82ae65784a', '\x77656270206f662061333266303536383234363363613166666631323961323630333333623634663933386536646561653865396664663136353631356538326165363537383461'),
	('ce2359f0be4590a98d067333498aca89f2e3e655bdc6064d6e1ab95ec414b358', '\x77656270206f662063653233353966306265343539306139386430363733333334393861636138396632653365363535626463363036346436653161623935656334313462333538'),
	('d2f4550e754d07be6bc9a73bcd990e15070c2f05c9054b386740ac8afebd3d4e', '\x77656270206f662064326634353530653735346430376265366263396137336263643939306531353037306332663035633930353462333836373430616338616665626433643465'),
	('d8e9af317dca58a0a1312a9743a42e142f7dc326fc35387b70ab6a5d4fab0906', '\x77656270206f662064386539616633313764636135386130613133313261393734336134326531343266376463333236666333353338376237306162366135643466616230393036'),
	('db269eb181fbdf5b76911bba4c1e58867bd68919a5846ab0a6e6a39399337235', '\x77656270206f662064623236396562313831666264663562373639313162626134633165353838363762643638393139613538343661623061366536613339333939333337323335');

SELECT pg_catalog.setval('clip_assets.index_index_id_seq', 3, true);

SELECT pg_catalog.setval('clip_assets.release_release_id_seq', 3, true);

ALTER TABLE ONLY clip_assets.applied_schema
    ADD CONSTRAINT applied_schema_pkey PRIMARY KEY (sha256);

ALTER TABLE ONLY clip_assets.erased
    ADD CONSTRAINT erased_pkey PRIMARY KEY (collection, image_id);

ALTER TABLE ONLY clip_assets.images_2
    ADD CONSTRAINT images_2_image_id_key UNIQUE (image_id);

ALTER TABLE ONLY clip_assets.images_2
    ADD CONSTRAINT images_2_pkey PRIMARY KEY (shard, "row");

ALTER TABLE ONLY clip_assets.images_3
    ADD CONSTRAINT images_3_image_id_key UNIQUE (image_id);

ALTER TABLE ONLY clip_assets.images_3
    ADD CONSTRAINT images_3_pkey PRIMARY KEY (shard, "row");

ALTER TABLE ONLY clip_assets.index
    ADD CONSTRAINT index_pkey PRIMARY KEY (index_id);

ALTER TABLE ONLY clip_assets.ledger
    ADD CONSTRAINT ledger_pkey PRIMARY KEY (index_id, shard);

ALTER TABLE ONLY clip_assets.live
    ADD CONSTRAINT live_pkey PRIMARY KEY (collection);

ALTER TABLE ONLY clip_assets.release
    ADD CONSTRAINT release_pkey PRIMARY KEY (release_id);

ALTER TABLE ONLY clip_assets.thumbnail
    ADD CONSTRAINT thumbnail_pkey PRIMARY KEY (sha256);

CREATE INDEX images_2_height ON clip_assets.images_2 USING btree (height);

CREATE INDEX images_2_hnsw ON clip_assets.images_2 USING hnsw (embedding public.halfvec_cosine_ops) WITH (m='16', ef_construction='64');

CREATE INDEX images_2_uri ON clip_assets.images_2 USING btree (uri text_pattern_ops);

CREATE INDEX images_2_width ON clip_assets.images_2 USING btree (width);

CREATE INDEX images_2_words ON clip_assets.images_2 USING gin (to_tsvector('simple'::regconfig, caption));

CREATE INDEX images_3_height ON clip_assets.images_3 USING btree (height);

CREATE INDEX images_3_hnsw ON clip_assets.images_3 USING hnsw (embedding public.halfvec_cosine_ops) WITH (m='16', ef_construction='64');

CREATE INDEX images_3_uri ON clip_assets.images_3 USING btree (uri text_pattern_ops);

CREATE INDEX images_3_width ON clip_assets.images_3 USING btree (width);

CREATE INDEX images_3_words ON clip_assets.images_3 USING gin (to_tsvector('simple'::regconfig, caption));

ALTER TABLE ONLY clip_assets.ledger
    ADD CONSTRAINT ledger_index_id_fkey FOREIGN KEY (index_id) REFERENCES clip_assets.index(index_id);

ALTER TABLE ONLY clip_assets.live
    ADD CONSTRAINT live_release_id_fkey FOREIGN KEY (release_id) REFERENCES clip_assets.release(release_id);

ALTER TABLE ONLY clip_assets.release
    ADD CONSTRAINT release_index_id_fkey FOREIGN KEY (index_id) REFERENCES clip_assets.index(index_id);

GRANT USAGE ON SCHEMA clip_assets TO clip_reader;
GRANT USAGE ON SCHEMA clip_assets TO clip_loader;

GRANT USAGE ON SCHEMA photos TO clip_reader;

GRANT SELECT ON TABLE clip_assets.applied_schema TO clip_reader;
GRANT SELECT ON TABLE clip_assets.applied_schema TO clip_loader;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE clip_assets.erased TO clip_loader;

GRANT SELECT ON TABLE clip_assets.images_2 TO clip_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE clip_assets.images_2 TO clip_loader;

GRANT SELECT ON TABLE clip_assets.images_3 TO clip_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE clip_assets.images_3 TO clip_loader;

GRANT SELECT ON TABLE clip_assets.index TO clip_reader;
GRANT SELECT ON TABLE clip_assets.index TO clip_loader;

GRANT SELECT ON TABLE clip_assets.ledger TO clip_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE clip_assets.ledger TO clip_loader;

GRANT SELECT ON TABLE clip_assets.live TO clip_reader;
GRANT SELECT ON TABLE clip_assets.live TO clip_loader;

GRANT SELECT ON TABLE clip_assets.release TO clip_reader;
GRANT SELECT ON TABLE clip_assets.release TO clip_loader;

GRANT SELECT ON TABLE clip_assets.thumbnail TO clip_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE clip_assets.thumbnail TO clip_loader;

GRANT SELECT ON TABLE photos.images TO clip_reader;

GRANT SELECT ON TABLE photos.embeddings TO clip_reader;

GRANT SELECT ON TABLE photos.releases TO clip_reader;

GRANT SELECT ON TABLE photos.shards TO clip_reader;

ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA clip_assets GRANT SELECT ON TABLES TO clip_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA clip_assets GRANT SELECT,INSERT,DELETE,UPDATE ON TABLES TO clip_loader;
