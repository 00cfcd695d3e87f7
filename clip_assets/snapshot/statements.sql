-- Named statements that copy one release from its database to the database of a snapshot.

-- name: columns
SELECT column_name FROM information_schema.columns
WHERE table_schema = 'clip_assets' AND table_name = %(table)s AND is_generated = 'NEVER'
ORDER BY ordinal_position;

-- name: copy_out_index
COPY (SELECT {columns} FROM clip_assets.index WHERE index_id = {index_id})
TO STDOUT (FORMAT binary);

-- name: copy_out_ledger
COPY (SELECT {columns} FROM clip_assets.ledger WHERE index_id = {index_id})
TO STDOUT (FORMAT binary);

-- name: copy_out_images
COPY (SELECT {columns} FROM clip_assets.{table} ORDER BY shard, row) TO STDOUT (FORMAT binary);

-- name: copy_out_thumbnails
COPY (SELECT {columns} FROM clip_assets.thumbnail
      WHERE sha256 IN (SELECT sha256 FROM clip_assets.{table})) TO STDOUT (FORMAT binary);

-- name: copy_in
COPY clip_assets.{into} ({columns}) FROM STDIN (FORMAT binary);

-- name: number_releases_from
ALTER TABLE clip_assets.release ALTER COLUMN release_id RESTART WITH {first};

-- name: date_release
UPDATE clip_assets.release SET published_at = %(published_at)s WHERE release_id = %(release_id)s;
