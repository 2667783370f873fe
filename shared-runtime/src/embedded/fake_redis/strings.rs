//! Strings, counters, expiry and the keyspace.

use bytes::Bytes;
use redis_protocol::resp2::types::BytesFrame;

use super::reply::{
    Failure, NOT_AN_INTEGER, Reply, SYNTAX, WRONG_TYPE, bulk, bulk_or_nil, count, fail, glob, integer, ok,
    strict_integer, word,
};
use super::store::{Data, Database, Entry};

fn text(entry: Option<&Entry>) -> Result<Option<Bytes>, Failure> {
    match entry {
        None => Ok(None),
        Some(Entry { data: Data::Text(text), .. }) => Ok(Some(text.clone())),
        Some(_) => fail(WRONG_TYPE),
    }
}

pub(super) fn get(db: &Database<'_>, args: &[Bytes]) -> Reply {
    db.read(&args[1], text).map(bulk_or_nil)
}

pub(super) fn mget(db: &Database<'_>, args: &[Bytes]) -> Reply {
    // A key of another type is nil here, not an error.
    let values = args[1..].iter().map(|key| bulk_or_nil(db.read(key, text).ok().flatten()));
    Ok(BytesFrame::Array(values.collect()))
}

pub(super) fn mset(db: &Database<'_>, args: &[Bytes]) -> Reply {
    if args.len().is_multiple_of(2) {
        return fail("ERR wrong number of arguments for 'mset' command");
    }
    for pair in args[1..].chunks_exact(2) {
        put(db, &pair[0], &pair[1], None);
    }
    Ok(ok())
}

fn put(db: &Database<'_>, key: &Bytes, value: &Bytes, expires_at: Option<i64>) {
    db.update(key, |slot| *slot = Some(Entry { data: Data::Text(value.clone()), expires_at }));
}

/// A moment from an amount of `unit` milliseconds, from now on when `relative`.
fn moment(now: i64, arg: &Bytes, unit: i64, relative: bool, command: &str) -> Result<i64, Failure> {
    let invalid = || Failure(format!("ERR invalid expire time in '{command}' command"));
    let amount = integer(arg)?.checked_mul(unit).ok_or_else(invalid)?;
    if relative { amount.checked_add(now).ok_or_else(invalid) } else { Ok(amount) }
}

/// As `moment`, for commands that refuse a time that is not positive.
fn positive_moment(now: i64, arg: &Bytes, unit: i64, relative: bool, command: &str) -> Result<i64, Failure> {
    if integer(arg)? <= 0 {
        return Err(Failure(format!("ERR invalid expire time in '{command}' command")));
    }
    moment(now, arg, unit, relative, command)
}

pub(super) fn set(db: &Database<'_>, args: &[Bytes]) -> Reply {
    let (mut only_new, mut only_old, mut keep, mut get) = (false, false, false, false);
    let mut expires_at = None;
    let mut rest = args[3..].iter();
    while let Some(option) = rest.next() {
        let option = word(option);
        match option.as_str() {
            "NX" => only_new = true,
            "XX" => only_old = true,
            "KEEPTTL" => keep = true,
            "GET" => get = true,
            "EX" | "PX" | "EXAT" | "PXAT" => {
                let Some(amount) = rest.next() else { return fail(SYNTAX) };
                if expires_at.is_some() {
                    return fail(SYNTAX);
                }
                let unit = if option.starts_with('E') { 1000 } else { 1 };
                expires_at = Some(positive_moment(db.now, amount, unit, option.len() == 2, "set")?);
            }
            _ => return fail(SYNTAX),
        }
    }
    if only_new && only_old || keep && expires_at.is_some() {
        return fail(SYNTAX);
    }
    db.update(&args[1], |slot| {
        let old = if get { text(slot.as_ref())? } else { None };
        if only_new && slot.is_some() || only_old && slot.is_none() {
            return Ok(bulk_or_nil(old));
        }
        let expires_at = if keep { slot.as_ref().and_then(|entry| entry.expires_at) } else { expires_at };
        *slot = Some(Entry { data: Data::Text(args[2].clone()), expires_at });
        Ok(if get { bulk_or_nil(old) } else { ok() })
    })
}

pub(super) fn setex(db: &Database<'_>, args: &[Bytes]) -> Reply {
    let at = positive_moment(db.now, &args[2], 1000, true, "setex")?;
    put(db, &args[1], &args[3], Some(at));
    Ok(ok())
}

pub(super) fn del(db: &Database<'_>, args: &[Bytes]) -> Reply {
    Ok(count(args[1..].iter().filter(|key| db.update(key, |slot| slot.take().is_some())).count()))
}

pub(super) fn exists(db: &Database<'_>, args: &[Bytes]) -> Reply {
    Ok(count(args[1..].iter().filter(|key| db.read(key, |entry| entry.is_some())).count()))
}

fn add(db: &Database<'_>, key: &Bytes, by: i64) -> Reply {
    db.update(key, |slot| {
        let old = match text(slot.as_ref())? {
            None => 0,
            Some(text) => strict_integer(&text).ok_or_else(|| Failure::from(NOT_AN_INTEGER))?,
        };
        let Some(new) = old.checked_add(by) else {
            return fail("ERR increment or decrement would overflow");
        };
        let expires_at = slot.as_ref().and_then(|entry| entry.expires_at);
        *slot = Some(Entry { data: Data::Text(Bytes::from(new.to_string())), expires_at });
        Ok(BytesFrame::Integer(new))
    })
}

pub(super) fn incr(db: &Database<'_>, args: &[Bytes]) -> Reply {
    add(db, &args[1], 1)
}

pub(super) fn decr(db: &Database<'_>, args: &[Bytes]) -> Reply {
    add(db, &args[1], -1)
}

pub(super) fn incrby(db: &Database<'_>, args: &[Bytes]) -> Reply {
    add(db, &args[1], integer(&args[2])?)
}

pub(super) fn decrby(db: &Database<'_>, args: &[Bytes]) -> Reply {
    match integer(&args[2])?.checked_neg() {
        Some(by) => add(db, &args[1], by),
        None => fail("ERR decrement would overflow"),
    }
}

fn expire_at(db: &Database<'_>, args: &[Bytes], at: i64) -> Reply {
    if let Some(option) = args.get(3) {
        return Err(Failure(format!("ERR Unsupported option {}", String::from_utf8_lossy(option))));
    }
    // A moment that has passed deletes the key: `update` drops dead entries.
    let found = db.update(&args[1], |slot| match slot {
        Some(entry) => {
            entry.expires_at = Some(at);
            true
        }
        None => false,
    });
    Ok(BytesFrame::Integer(found.into()))
}

pub(super) fn expire(db: &Database<'_>, args: &[Bytes]) -> Reply {
    expire_at(db, args, moment(db.now, &args[2], 1000, true, "expire")?)
}

pub(super) fn pexpire(db: &Database<'_>, args: &[Bytes]) -> Reply {
    expire_at(db, args, moment(db.now, &args[2], 1, true, "pexpire")?)
}

pub(super) fn expireat(db: &Database<'_>, args: &[Bytes]) -> Reply {
    expire_at(db, args, moment(db.now, &args[2], 1000, false, "expireat")?)
}

/// Milliseconds left, -1 without an expiry, -2 without a key.
fn left(db: &Database<'_>, key: &Bytes) -> i64 {
    db.read(key, |entry| entry.map_or(-2, |entry| entry.expires_at.map_or(-1, |at| at - db.now)))
}

pub(super) fn ttl(db: &Database<'_>, args: &[Bytes]) -> Reply {
    let left = left(db, &args[1]);
    Ok(BytesFrame::Integer(if left < 0 { left } else { left.saturating_add(500) / 1000 }))
}

pub(super) fn pttl(db: &Database<'_>, args: &[Bytes]) -> Reply {
    Ok(BytesFrame::Integer(left(db, &args[1])))
}

pub(super) fn persist(db: &Database<'_>, args: &[Bytes]) -> Reply {
    let had =
        db.update(&args[1], |slot| slot.as_mut().is_some_and(|entry| entry.expires_at.take().is_some()));
    Ok(BytesFrame::Integer(had.into()))
}

pub(super) fn keys(db: &Database<'_>, args: &[Bytes]) -> Reply {
    Ok(matching(db, &args[1]))
}

fn matching(db: &Database<'_>, pattern: &[u8]) -> BytesFrame {
    BytesFrame::Array(db.keys().into_iter().filter(|key| glob(pattern, key)).map(bulk).collect())
}

/// Everything in the first answer: no cursor has to survive changes between two calls.
pub(super) fn scan(db: &Database<'_>, args: &[Bytes]) -> Reply {
    let Some(cursor) = strict_integer(&args[1]).filter(|cursor| *cursor >= 0) else {
        return fail("ERR invalid cursor");
    };
    let mut pattern = Bytes::from_static(b"*");
    for option in args[2..].chunks(2) {
        match (word(&option[0]).as_str(), option.get(1)) {
            ("MATCH", Some(wanted)) => pattern = wanted.clone(),
            ("COUNT", Some(n)) => {
                if integer(n)? < 1 {
                    return fail(SYNTAX);
                }
            }
            _ => return fail(SYNTAX),
        }
    }
    let found = if cursor == 0 { matching(db, &pattern) } else { BytesFrame::Array(Vec::new()) };
    Ok(BytesFrame::Array(vec![bulk("0"), found]))
}

pub(super) fn dbsize(db: &Database<'_>, _: &[Bytes]) -> Reply {
    Ok(count(db.keys().len()))
}

fn flush_option(args: &[Bytes]) -> Result<(), Failure> {
    match args.get(1).map(|option| word(option)).as_deref() {
        None | Some("SYNC" | "ASYNC") if args.len() <= 2 => Ok(()),
        _ => fail(SYNTAX),
    }
}

pub(super) fn flushdb(db: &Database<'_>, args: &[Bytes]) -> Reply {
    flush_option(args)?;
    db.flush();
    Ok(ok())
}

pub(super) fn flushall(db: &Database<'_>, args: &[Bytes]) -> Reply {
    flush_option(args)?;
    db.flush_all();
    Ok(ok())
}
