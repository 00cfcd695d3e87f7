-- Named statements; %(names)s are bound values.

-- name: record
INSERT INTO clip_assets.human_judgement
    (collection, query_text, query_image, query_terms, image_id, is_right, judged_by, judged_at)
VALUES (%(collection)s, %(text)s, %(image)s, %(terms)s, %(image_id)s, %(is_right)s, %(judged_by)s,
        %(judged_at)s)
ON CONFLICT (collection, md5(query_text), md5(query_image), md5(query_terms::text), md5(image_id),
             judged_by)
DO UPDATE SET is_right = EXCLUDED.is_right, judged_at = EXCLUDED.judged_at;

-- name: withdraw
DELETE FROM clip_assets.human_judgement
WHERE collection = %(collection)s AND query_text = %(text)s AND query_image = %(image)s
  AND query_terms = %(terms)s AND image_id = %(image_id)s AND judged_by = %(judged_by)s;

-- name: listed
SELECT collection, query_text, query_image, query_terms, image_id, is_right, judged_by, judged_at,
       judgement_id
FROM clip_assets.human_judgement
WHERE collection = %(collection)s AND judgement_id > %(after)s
  AND (%(text)s::text IS NULL OR query_text = %(text)s)
  AND (%(image)s::text IS NULL OR query_image = %(image)s)
  AND (%(terms)s::jsonb IS NULL OR query_terms = %(terms)s)
ORDER BY judgement_id LIMIT %(limit)s;

-- name: forget
-- Erased images, as hits and as queries.
DELETE FROM clip_assets.human_judgement
WHERE collection = %(collection)s
  AND (image_id = ANY (%(image_ids)s) OR query_image = ANY (%(image_ids)s)
       OR EXISTS (SELECT FROM jsonb_array_elements(query_terms) AS term
                  WHERE term->>'image_id' = ANY (%(image_ids)s)));

-- name: forget_collection
DELETE FROM clip_assets.human_judgement WHERE collection = %(collection)s;
