-- One record is one row; its index entries are in it, so that neither is ever without the other.
CREATE TABLE IF NOT EXISTS grantor (
    key      bytea  PRIMARY KEY,  -- the kind, then the identifier; compared byte by byte
    version  bytea  NOT NULL,     -- the commit that wrote the row
    value    bytea  NOT NULL,     -- opaque
    purge_at bigint NOT NULL,     -- milliseconds since 1970, by the clock of the servers of Grantor
    indexes  text[] NOT NULL      -- every index that lists the key
);
CREATE INDEX IF NOT EXISTS grantor_indexes ON grantor USING gin (indexes) WITH (fastupdate = off);
