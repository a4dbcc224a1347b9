//! What runs inside Redis. Every script has one key, so that it runs on one node of a Cluster, also
//! while slots move.

use std::sync::LazyLock;

use redis::Cmd;

/// A Lua script, called by its hash where the server knows it.
pub(crate) struct Script {
    code: &'static str,
    hash: String,
}

impl Script {
    fn new(code: &'static str) -> Self {
        let hash = redis::Script::new(code).get_hash().to_owned();
        Self { code, hash }
    }

    /// The call. `whole`: with the code, for a server that does not know it (it does afterwards).
    pub(crate) fn call(&self, whole: bool, key: &[u8]) -> Cmd {
        let mut cmd = redis::cmd(if whole { "EVAL" } else { "EVALSHA" });
        cmd.arg(if whole { self.code } else { &self.hash }).arg(1).arg(key);
        cmd
    }
}

/// Replaces a record, if the stored one is the expected one.
///
/// `KEYS[1]`: the record. `ARGV`: the expected commit id (empty: there must be none), the id of this
/// commit, the new value, when it expires (empty: never), the moment (of this server's clock) after
/// which the caller does not wait any more, and the token of the tombstone that the caller was told
/// about (empty: none).
///
/// The moment is there for commands that were held up somewhere: what arrives when nobody waits for
/// it any more must not bring back what was swept meanwhile.
pub(crate) static COMMIT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r#"
local stored = redis.call('GETRANGE', KEYS[1], 0, 16)
local format, commit = string.byte(stored), string.sub(stored, 2)
if format == 1 and commit == ARGV[2] then return 'applied' end
if format ~= nil and format > 1 then return 'format ' .. format end
local time = redis.call('TIME')
if time[1] * 1000 + math.floor(time[2] / 1000) > tonumber(ARGV[5]) then return 'late' end
if format == 1 then
  if commit ~= ARGV[1] then return 'conflict' end
else
  if ARGV[1] ~= '' then return 'conflict' end
  if format == 0 and commit ~= ARGV[6] then return commit end
end
if ARGV[4] == '' then
  redis.call('SET', KEYS[1], ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[3], 'PXAT', ARGV[4])
end
return 'applied'
"#,
    )
});

/// A mark: the intention of one sweep to remove an entry. It sorts before all entries, and with its
/// length in front the marks of one entry are a range that has those of no other.
pub(crate) fn mark(entry: &[u8], token: &[u8; 16]) -> Vec<u8> {
    // An entry is the key of a record, with 129 bytes at most.
    let len = u8::try_from(entry.len()).unwrap_or(u8::MAX);
    let token = token.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    [b"\0", &[len][..], entry, token.as_bytes()].concat()
}

/// Adds an entry to an index, and takes back every sweep's intention to remove it.
///
/// `KEYS[1]`: the index. `ARGV[1]`: the entry.
pub(crate) static ADD_ENTRY: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r#"
redis.call('ZADD', KEYS[1], 0, ARGV[1])
local marks = '\0' .. string.char(#ARGV[1]) .. ARGV[1]
redis.call('ZREMRANGEBYLEX', KEYS[1], '[' .. marks, '(' .. marks .. '\255')
return 1
"#,
    )
});

/// Removes an entry from an index, if it is still the intention, and with it all other intentions.
///
/// `KEYS[1]`: the index. `ARGV`: the entry, the mark.
pub(crate) static REMOVE_ENTRY: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r#"
if redis.call('ZREM', KEYS[1], ARGV[2]) == 0 then return 0 end
local marks = '\0' .. string.char(#ARGV[1]) .. ARGV[1]
redis.call('ZREMRANGEBYLEX', KEYS[1], '[' .. marks, '(' .. marks .. '\255')
return redis.call('ZREM', KEYS[1], ARGV[1])
"#,
    )
});

/// Puts a tombstone where a record would be, if there is none.
///
/// `KEYS[1]`: the record. `ARGV`: the tombstone, the milliseconds that it stays. An older tombstone is
/// replaced: somebody may have been told about that one already.
pub(crate) static BURY: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r#"
local format = string.byte(redis.call('GETRANGE', KEYS[1], 0, 0))
if format ~= nil and format ~= 0 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"#,
    )
});

/// Removes a record, if it is still the one that was examined.
///
/// `KEYS[1]`: the record. `ARGV[1]`: its format and commit id.
pub(crate) static REMOVE_RECORD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r#"
if redis.call('GETRANGE', KEYS[1], 0, 16) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"#,
    )
});
