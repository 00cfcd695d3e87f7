-- What a rollback goes back to. `replaced` is the release that was live when this one went live.
-- `taken_back_at` is when a rollback left the release's index; no later rollback returns to it.
ALTER TABLE clip_assets.release
    ADD COLUMN replaced bigint REFERENCES clip_assets.release,
    ADD COLUMN taken_back_at timestamptz;

-- Until now each release was taken to have replaced the one with the number before.
UPDATE clip_assets.release AS r SET replaced = ordered.before
FROM (SELECT release_id, lag(release_id) OVER (PARTITION BY collection ORDER BY release_id) AS before
      FROM clip_assets.release) AS ordered
WHERE ordered.release_id = r.release_id;

-- A rollback to a changed index made a release; it left the index released just before.
UPDATE clip_assets.release AS r SET taken_back_at = back.published_at
FROM clip_assets.release AS back JOIN clip_assets.release AS left_by_it
  ON left_by_it.release_id = back.replaced AND left_by_it.index_id <> back.index_id
WHERE back.run_id = 'rollback' AND r.index_id = left_by_it.index_id
  AND r.release_id < back.release_id;

-- Any other rollback moved the pointer below the newest release.
UPDATE clip_assets.release AS r SET taken_back_at = now()
FROM clip_assets.live AS l JOIN clip_assets.release AS now_live USING (release_id)
WHERE r.collection = l.collection AND r.release_id > l.release_id
  AND r.index_id <> now_live.index_id;
