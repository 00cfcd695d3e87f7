-- Named statements; %(names)s are bound values.

-- name: record
INSERT INTO clip_assets.human_judgement
    (collection, query_text, query_image, image_id, is_right, judged_by, judged_at)
VALUES (%(collection)s, %(query_text)s, %(query_image)s, %(image_id)s, %(is_right)s, %(judged_by)s,
        %(judged_at)s)
ON CONFLICT (collection, md5(query_text),
             md5(query_image), md5(image_id), judged_by)
DO UPDATE SET is_right = EXCLUDED.is_right, judged_at = EXCLUDED.judged_at;

-- name: withdraw
DELETE FROM clip_assets.human_judgement
WHERE collection = %(collection)s AND query_text = %(query_text)s AND query_image = %(query_image)s
  AND image_id = %(image_id)s AND judged_by = %(judged_by)s;

-- name: listed
-- The columns are those of `HumanJudgement`.
SELECT collection, query_text, query_image, image_id, is_right, judged_by, judged_at, judgement_id
FROM clip_assets.human_judgement
WHERE collection = %(collection)s AND judgement_id > %(after)s
  AND (%(query_text)s::text IS NULL OR query_text = %(query_text)s)
  AND (%(query_image)s::text IS NULL OR query_image = %(query_image)s)
ORDER BY judgement_id LIMIT %(limit)s;

-- name: forget
-- Erased images, as hits and as queries.
DELETE FROM clip_assets.human_judgement
WHERE collection = %(collection)s
  AND (image_id = ANY (%(image_ids)s) OR query_image = ANY (%(image_ids)s));

-- name: forget_collection
DELETE FROM clip_assets.human_judgement WHERE collection = %(collection)s;
