//! Sorted sets.

use bytes::Bytes;
use redis_protocol::resp2::types::BytesFrame;

use super::reply::{
    Failure, Reply, SYNTAX, WRONG_TYPE, bulk, bulk_or_nil, count, fail, float, integer, score, word,
};
use super::store::{Data, Database, Entry, SortedSet};

fn view<T>(db: &Database<'_>, key: &Bytes, f: impl FnOnce(&SortedSet) -> T) -> Result<T, Failure> {
    db.read(key, |entry| match entry {
        None => Ok(f(&SortedSet::default())),
        Some(Entry { data: Data::Sorted(set), .. }) => Ok(f(set)),
        Some(_) => fail(WRONG_TYPE),
    })
}

fn change<T>(
    db: &Database<'_>,
    key: &Bytes,
    f: impl FnOnce(&mut SortedSet) -> Result<T, Failure>,
) -> Result<T, Failure> {
    db.update(key, |slot| {
        // An empty set that `f` leaves empty is dropped again by `update`.
        let entry =
            slot.get_or_insert_with(|| Entry { data: Data::Sorted(SortedSet::default()), expires_at: None });
        match &mut entry.data {
            Data::Sorted(set) => f(set),
            Data::Text(_) => fail(WRONG_TYPE),
        }
    })
}

fn score_arg(arg: &Bytes) -> Result<f64, Failure> {
    float(arg).ok_or_else(|| "ERR value is not a valid float".into())
}

pub(super) fn zadd(db: &Database<'_>, args: &[Bytes]) -> Reply {
    let (mut nx, mut xx, mut gt, mut lt, mut ch, mut incr) = (false, false, false, false, false, false);
    let mut first = 2;
    while let Some(option) = args.get(first) {
        match word(option).as_str() {
            "NX" => nx = true,
            "XX" => xx = true,
            "GT" => gt = true,
            "LT" => lt = true,
            "CH" => ch = true,
            "INCR" => incr = true,
            _ => break,
        }
        first += 1;
    }
    let pairs = &args[first.min(args.len())..];
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return fail(SYNTAX);
    }
    if nx && xx {
        return fail("ERR XX and NX options at the same time are not compatible");
    }
    if gt && lt || nx && (gt || lt) {
        return fail("ERR GT, LT, and/or NX options at the same time are not compatible");
    }
    if incr && pairs.len() > 2 {
        return fail("ERR INCR option supports a single increment-element pair");
    }
    // Every score is read before anything changes: an error leaves the set as it was.
    let mut wanted = Vec::with_capacity(pairs.len() / 2);
    for pair in pairs.chunks_exact(2) {
        wanted.push((score_arg(&pair[0])?, &pair[1]));
    }
    change(db, &args[1], |set| {
        let (mut added, mut changed, mut last) = (0, 0, None);
        for (value, member) in wanted {
            let old = set.score(member);
            if nx && old.is_some() || xx && old.is_none() {
                continue;
            }
            let value = if incr { value + old.unwrap_or(0.0) } else { value };
            if value.is_nan() {
                return fail("ERR resulting score is not a number (NaN)");
            }
            if old.is_some_and(|old| gt && value <= old || lt && value >= old) {
                continue;
            }
            last = Some(value);
            match old {
                None => added += 1,
                Some(old) if old != value => changed += 1,
                Some(_) => continue,
            }
            set.insert(member, value);
        }
        if incr {
            return Ok(bulk_or_nil(last.map(score)));
        }
        Ok(count(if ch { added + changed } else { added }))
    })
}

pub(super) fn zincrby(db: &Database<'_>, args: &[Bytes]) -> Reply {
    let by = score_arg(&args[2])?;
    change(db, &args[1], |set| {
        let value = set.score(&args[3]).unwrap_or(0.0) + by;
        if value.is_nan() {
            return fail("ERR resulting score is not a number (NaN)");
        }
        set.insert(&args[3], value);
        Ok(bulk(score(value)))
    })
}

pub(super) fn zscore(db: &Database<'_>, args: &[Bytes]) -> Reply {
    view(db, &args[1], |set| bulk_or_nil(set.score(&args[2]).map(score)))
}

pub(super) fn zrem(db: &Database<'_>, args: &[Bytes]) -> Reply {
    change(db, &args[1], |set| Ok(count(args[2..].iter().filter(|member| set.remove(member)).count())))
}

pub(super) fn zcard(db: &Database<'_>, args: &[Bytes]) -> Reply {
    view(db, &args[1], |set| count(set.len()))
}

/// One end of a score range; `(` before the number leaves the number itself out.
#[derive(Clone, Copy)]
struct Bound {
    value: f64,
    exclusive: bool,
}

impl Bound {
    fn parse(arg: &Bytes) -> Result<Self, Failure> {
        let exclusive = arg.first() == Some(&b'(');
        let number = &arg[usize::from(exclusive)..];
        // Redis reads no digits at all as 0 here.
        let value = if number.is_empty() { Some(0.0) } else { float(number) };
        let value = value.ok_or_else(|| Failure::from("ERR min or max is not a float"))?;
        Ok(Self { value, exclusive })
    }

    fn below(self, value: f64) -> bool {
        if self.exclusive { self.value < value } else { self.value <= value }
    }

    fn above(self, value: f64) -> bool {
        if self.exclusive { self.value > value } else { self.value >= value }
    }
}

fn within(set: &SortedSet, min: Bound, max: Bound) -> impl DoubleEndedIterator<Item = (&Bytes, f64)> {
    set.iter().filter(move |(_, value)| min.below(*value) && max.above(*value))
}

pub(super) fn zcount(db: &Database<'_>, args: &[Bytes]) -> Reply {
    let (min, max) = (Bound::parse(&args[2])?, Bound::parse(&args[3])?);
    view(db, &args[1], |set| count(within(set, min, max).count()))
}

pub(super) fn zremrangebyscore(db: &Database<'_>, args: &[Bytes]) -> Reply {
    let (min, max) = (Bound::parse(&args[2])?, Bound::parse(&args[3])?);
    change(db, &args[1], |set| {
        let gone: Vec<Bytes> = within(set, min, max).map(|(member, _)| member.clone()).collect();
        Ok(count(gone.iter().filter(|member| set.remove(member)).count()))
    })
}

/// What a range command asks for.
#[derive(Default)]
struct Range {
    by_score: bool,
    reverse: bool,
    with_scores: bool,
    limit: Option<(i64, i64)>,
}

impl Range {
    fn options(mut self, args: &[Bytes], full: bool) -> Result<Self, Failure> {
        let mut rest = args.iter();
        while let Some(option) = rest.next() {
            match word(option).as_str() {
                "WITHSCORES" => self.with_scores = true,
                "BYSCORE" if full => self.by_score = true,
                "REV" if full => self.reverse = true,
                "LIMIT" => match (rest.next(), rest.next()) {
                    (Some(offset), Some(count)) => self.limit = Some((integer(offset)?, integer(count)?)),
                    _ => return fail(SYNTAX),
                },
                _ => return fail(SYNTAX),
            }
        }
        if self.limit.is_some() && !self.by_score {
            return fail(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            );
        }
        Ok(self)
    }

    fn run(&self, db: &Database<'_>, args: &[Bytes]) -> Reply {
        if self.by_score {
            let (from, to) = if self.reverse { (3, 2) } else { (2, 3) };
            let (min, max) = (Bound::parse(&args[from])?, Bound::parse(&args[to])?);
            let (offset, count) = self.limit.unwrap_or((0, -1));
            let take = usize::try_from(count).unwrap_or(usize::MAX);
            view(db, &args[1], |set| {
                let Ok(skip) = usize::try_from(offset) else { return BytesFrame::Array(Vec::new()) };
                let found = within(set, min, max);
                if self.reverse {
                    self.answer(found.rev().skip(skip).take(take))
                } else {
                    self.answer(found.skip(skip).take(take))
                }
            })
        } else {
            let (start, stop) = (integer(&args[2])?, integer(&args[3])?);
            view(db, &args[1], |set| {
                let len = set.len() as i64;
                let at =
                    |index: i64| if index < 0 { (len.saturating_add(index)).max(-1) } else { index.min(len) };
                let (start, stop) = (at(start).max(0), at(stop));
                let take = usize::try_from(stop.min(len - 1) - start + 1).unwrap_or(0);
                let skip = usize::try_from(start).unwrap_or(0);
                if self.reverse {
                    self.answer(set.iter().rev().skip(skip).take(take))
                } else {
                    self.answer(set.iter().skip(skip).take(take))
                }
            })
        }
    }

    fn answer<'s>(&self, found: impl Iterator<Item = (&'s Bytes, f64)>) -> BytesFrame {
        let mut frames = Vec::new();
        for (member, value) in found {
            frames.push(bulk(member.clone()));
            if self.with_scores {
                frames.push(bulk(score(value)));
            }
        }
        BytesFrame::Array(frames)
    }
}

pub(super) fn zrange(db: &Database<'_>, args: &[Bytes]) -> Reply {
    Range::default().options(&args[4..], true)?.run(db, args)
}

pub(super) fn zrevrange(db: &Database<'_>, args: &[Bytes]) -> Reply {
    Range { reverse: true, ..Range::default() }.options(&args[4..], false)?.run(db, args)
}

pub(super) fn zrangebyscore(db: &Database<'_>, args: &[Bytes]) -> Reply {
    Range { by_score: true, ..Range::default() }.options(&args[4..], false)?.run(db, args)
}
