//! What runs inside Redis. Every script has one key, so that it runs on one node of a Cluster, also
//! while slots move.
//!
//! Numbers stand in quotes: Lua would write each as a floating-point number on its way to a command, which
//! takes as long as some of the commands.

use std::sync::LazyLock;

use redis::Cmd;

/// A command with room for so many bytes of arguments.
pub(crate) fn command(name: &str, room: usize) -> Cmd {
    let mut cmd = Cmd::with_capacity(8, name.len() + room);
    cmd.arg(name);
    cmd
}

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

    /// The call, with room for so many bytes of arguments. `whole`: with the code, for a server that does
    /// not know it (it does afterwards).
    pub(crate) fn call(&self, whole: bool, key: &[u8], room: usize) -> Cmd {
        let (name, script) = if whole { ("EVAL", self.code) } else { ("EVALSHA", &*self.hash) };
        let mut cmd = command(name, script.len() + 1 + key.len() + room);
        cmd.arg(script).arg(1).arg(key);
        cmd
    }
}

/// Replaces a record, if the stored one is the expected one.
///
/// `KEYS[1]`: the record. `ARGV`: the [head](crate::layout::Head) that is expected (empty: there must be
/// no record; that of a tombstone: the caller was told about that one), the new value, when it expires
/// (empty: never), and the second (of this server's clock) after which the caller does not wait any
/// more.
///
/// The moment is there for commands that were held up somewhere: what arrives when nobody waits for
/// it any more must not bring back what was swept meanwhile.
///
/// Answers with a number, see [`APPLIED`], or with the head of what is in the way: a tombstone of
/// which the caller does not know, or a record of another format.
pub(crate) static COMMIT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r#"
local key, expected, value = KEYS[1], ARGV[1], ARGV[2]
local stored = redis.call('GETRANGE', key, '0', '16')
if stored ~= expected then
  if stored == string.sub(value, 1, 17) then return 1 end
  local format, wanted = string.byte(stored), string.byte(expected)
  if format ~= nil and format ~= 0 and format ~= string.byte(value) then return stored end
  if wanted ~= nil and wanted ~= 0 then return 0 end
  if format == 0 then return stored end
  if format ~= nil then return 0 end
end
if redis.call('TIME')[1] - ARGV[4] > 0 then return -1 end
if ARGV[3] == '' then
  redis.call('SET', key, value)
else
  redis.call('SET', key, value, 'PXAT', ARGV[3])
end
return 1
"#,
    )
});

/// Written, now or when this commit came before.
pub(crate) const APPLIED: i64 = 1;
/// The stored record is not the expected one.
pub(crate) const CONFLICT: i64 = 0;
/// It came after the moment.
pub(crate) const LATE: i64 = -1;

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
redis.call('ZADD', KEYS[1], '0', ARGV[1])
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
local format = string.byte(redis.call('GETRANGE', KEYS[1], '0', '0'))
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
if redis.call('GETRANGE', KEYS[1], '0', '16') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"#,
    )
});
