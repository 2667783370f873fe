//! Recomputes a draw from its public record and list. Nothing else is needed: no network, no database, no key.

use std::collections::HashSet;
use std::fmt;

use super::{
    Chains, DrawMethod, DrawPhase, DrawRecord, Entrant, ListDigest, Seed, Selected, Selection, Standing,
    Trust, trust,
};
use crate::{EntryId, Hex32, Rules};

/// What is checked, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckName {
    /// The rules version is one that this build computes by.
    Rules,
    /// The record holds what its phase shows, and nobody twice.
    Record,
    /// The seed is the one committed to.
    Commitment,
    /// The trust claimed follows from the named round and the time of freezing.
    Trust,
    /// The round's signature is its chain's, and its randomness follows from it.
    Beacon,
    /// The list is the frozen one.
    List,
    /// The history of disqualifications is what the rules give.
    Disqualified,
    /// Seed, beacon and list give these winners.
    Winners,
    /// They give these alternates in this order.
    Alternates,
}

impl CheckName {
    /// Lower-case, for output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::Record => "record",
            Self::Commitment => "commitment",
            Self::Trust => "trust",
            Self::Beacon => "beacon",
            Self::List => "list",
            Self::Disqualified => "disqualified",
            Self::Winners => "winners",
            Self::Alternates => "alternates",
        }
    }
}

/// How a check ended; the text says what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckOutcome {
    /// Recomputed, and the same.
    Passed(String),
    /// Recomputed, and not the same.
    Failed(String),
    /// Not possible: not published yet, no list at hand, or built on a check that failed.
    NotChecked(String),
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Which.
    pub name: CheckName,
    /// How it ended.
    pub outcome: CheckOutcome,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, text) = match &self.outcome {
            CheckOutcome::Passed(text) => ("ok", text),
            CheckOutcome::Failed(text) => ("FAILED", text),
            CheckOutcome::NotChecked(text) => ("not checked", text),
        };
        write!(f, "{word:<12} {:<13} {text}", self.name.as_str())
    }
}

/// All checks of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// In the order of [`CheckName`].
    pub checks: Vec<Check>,
}

impl Report {
    /// The checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|c| matches!(c.outcome, CheckOutcome::Failed(_)))
    }

    /// The checks that could not be made.
    pub fn not_checked(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|c| matches!(c.outcome, CheckOutcome::NotChecked(_)))
    }
}

/// A verification under way: `push` the entrants in the list's order, then [`Verifier::finish`]; or
/// [`Verifier::without_list`]. Besides winners and alternates it keeps the ids of the list, 16 bytes each, to find repeats.
pub struct Verifier<'r> {
    record: &'r DrawRecord,
    checks: Vec<Check>,
    list: Option<(Hex32, ListDigest)>,
    /// The error says why nobody can be selected.
    selection: Result<Selection, &'static str>,
    members: HashSet<EntryId>,
    twice: Option<EntryId>,
}

use CheckOutcome::{Failed, NotChecked, Passed};

impl<'r> Verifier<'r> {
    /// Checks what needs no list.
    pub fn new(record: &'r DrawRecord, chains: &Chains) -> Self {
        let mut verifier = Self {
            record,
            checks: Vec::new(),
            list: record
                .list_digest
                .zip(record.entrants)
                .map(|(digest, n)| (digest, ListDigest::new(record.event_id, n))),
            selection: Err("the draw is not published yet"),
            members: HashSet::new(),
            twice: None,
        };
        verifier.start(chains);
        verifier
    }

    fn add(&mut self, name: CheckName, outcome: CheckOutcome) -> bool {
        let passed = matches!(outcome, Passed(_));
        self.checks.push(Check { name, outcome });
        passed
    }

    fn start(&mut self, chains: &Chains) {
        let record = self.record;
        let version = record.rules_version;
        let known = Rules::of(version).is_some();
        if known {
            self.add(CheckName::Rules, Passed(format!("version {version}")));
        } else {
            self.add(
                CheckName::Rules,
                Failed(format!(
                    "this build does not know version {version}, its newest is {}",
                    Rules::NEWEST.version()
                )),
            );
        }
        self.add(CheckName::Record, check_shape(record));
        let commitment = check_commitment(record);
        let seed = self.add(CheckName::Commitment, commitment);
        let trust = trust(chains, record.beacon.as_ref().map(|b| b.round()).as_ref(), record.frozen_at);
        let trusted = self.add(
            CheckName::Trust,
            match trust {
                Ok(trust) if trust == record.trust => Passed(match trust {
                    Trust::Operator => "the operator, who knew the seed beforehand".to_owned(),
                    Trust::Beacon => "a beacon that nobody knew when the list was frozen".to_owned(),
                }),
                Ok(Trust::Operator) => {
                    Failed("claims a beacon, but none was named or the list was frozen too late".to_owned())
                }
                Ok(Trust::Beacon) => Failed("claims the operator, but the named beacon counts".to_owned()),
                Err(error) => Failed(error.to_string()),
            },
        );
        let beacon = check_beacon(record, chains);
        let beacon = self.add(CheckName::Beacon, beacon);
        self.selection = match (record.seed, record.list_digest, record.beacon_value()) {
            _ if !known => Err("the rules are not known here"),
            _ if record.phase < DrawPhase::Published => Err("the draw is not published yet"),
            _ if !seed => Err("the seed is not the committed one"),
            _ if !beacon || !trusted => Err("the beacon or the trust is not right"),
            (Some(seed), Some(digest), Some(beacon)) => {
                Ok(selection(record, &Seed::new(seed.0), &digest, &beacon))
            }
            _ => Err("the record lacks a part"),
        };
    }

    /// The next entrant in the list's order.
    pub fn push(&mut self, entrant: &Entrant) {
        if !self.members.insert(*entrant.entry_id()) {
            self.twice = Some(*entrant.entry_id());
        }
        if let Some((_, list)) = &mut self.list {
            list.push(entrant);
        }
        if let Ok(selection) = &mut self.selection {
            selection.push(entrant);
        }
    }

    /// The report, all entrants having been pushed.
    pub fn finish(mut self) -> Report {
        let outcome = match (self.twice, self.list.take()) {
            (_, None) => NotChecked("the list is not frozen yet".to_owned()),
            (Some(id), _) => Failed(format!("{id} stands in it twice")),
            (None, Some((digest, list))) => match list.finish() {
                Ok(ours) if ours == digest.0 => {
                    Passed(format!("{} entrants, digest {digest}", self.members.len()))
                }
                Ok(ours) => Failed(format!("its digest is {}, the record has {digest}", Hex32(ours))),
                Err(error) => Failed(error.to_string()),
            },
        };
        let list = matches!(outcome, Passed(_));
        self.add(CheckName::List, outcome);
        let selection = std::mem::replace(&mut self.selection, Err(""));
        match selection {
            Ok(_) if !list => self.give_up("the list is not the frozen one"),
            Err(why) => self.give_up(why),
            Ok(selection) => self.compare(selection.finish()),
        }
        Report { checks: self.checks }
    }

    /// The report where no list is at hand.
    pub fn without_list(mut self) -> Report {
        self.add(CheckName::List, NotChecked("no list of entrants at hand".to_owned()));
        let why = self.selection.as_ref().map_or_else(|why| *why, |_| "no list of entrants at hand");
        self.give_up(why);
        Report { checks: self.checks }
    }

    fn give_up(&mut self, why: &str) {
        for name in [CheckName::Disqualified, CheckName::Winners, CheckName::Alternates] {
            self.add(name, NotChecked(why.to_owned()));
        }
    }

    fn compare(&mut self, selected: Selected) {
        let record = self.record;
        let mut standing = Standing::from(selected);
        let history = self.replay(&mut standing);
        self.add(CheckName::Disqualified, history);
        let show = |id: &Option<EntryId>| id.map_or_else(|| "nobody".to_owned(), |id| id.to_string());
        self.add(CheckName::Winners, compare("rank", &record.winners, &standing.winners, show));
        let alternates: Vec<EntryId> = standing.alternates.into();
        self.add(
            CheckName::Alternates,
            compare("alternate", &record.alternates, &alternates, ToString::to_string),
        );
    }

    /// Takes out those disqualified, in order, and compares who moved up.
    fn replay(&self, standing: &mut Standing) -> CheckOutcome {
        let mut out = HashSet::new();
        let mut wrong = None;
        for (i, item) in self.record.disqualified.iter().enumerate() {
            let id = item.entry_id;
            let moved_up = standing.disqualify(&id).replaced_by();
            let problem = if !self.members.contains(&id) {
                format!("{id} is not in the list")
            } else if !out.insert(id) {
                format!("{id} was disqualified before")
            } else if moved_up != item.replaced_by {
                let name = |id: Option<EntryId>| id.map_or_else(|| "nobody".to_owned(), |id| id.to_string());
                format!("the record lets {} move up, the rules {}", name(item.replaced_by), name(moved_up))
            } else {
                continue;
            };
            wrong = wrong.or_else(|| Some(format!("number {}: {problem}", i + 1)));
        }
        wrong.map_or_else(|| Passed(format!("{} disqualified", self.record.disqualified.len())), Failed)
    }
}

fn selection(record: &DrawRecord, seed: &Seed, digest: &Hex32, beacon: &[u8; 32]) -> Selection {
    let winners = u64::try_from(record.max_winners).unwrap_or(0);
    match record.method {
        DrawMethod::Random => Selection::random(
            seed.draw_key(record.event_id, &digest.0, beacon),
            winners,
            record.max_alternates,
        ),
        DrawMethod::Arrival => Selection::arrival(winners, record.max_alternates),
    }
}

fn compare<T: PartialEq>(what: &str, record: &[T], ours: &[T], show: impl Fn(&T) -> String) -> CheckOutcome {
    if let Some(i) = (0..record.len().min(ours.len())).find(|i| record[*i] != ours[*i]) {
        let (theirs, mine) = (show(&record[i]), show(&ours[i]));
        return Failed(format!("{what} {}: the record has {theirs}, the draw gives {mine}", i + 1));
    }
    if record.len() == ours.len() {
        Passed(format!("{}, each recomputed", record.len()))
    } else {
        Failed(format!("the record has {}, the draw gives {}", record.len(), ours.len()))
    }
}

fn check_commitment(record: &DrawRecord) -> CheckOutcome {
    match record.seed {
        None => NotChecked(format!("the seed is not published yet; the commitment is {}", record.commitment)),
        Some(seed) => {
            let ours = Hex32(Seed::new(seed.0).commitment(record.event_id));
            if ours == record.commitment {
                Passed(format!("{ours}: compare it with what was announced"))
            } else {
                Failed(format!("the seed gives {ours}, the record has {}", record.commitment))
            }
        }
    }
}

fn check_beacon(record: &DrawRecord, chains: &Chains) -> CheckOutcome {
    let Some(beacon) = &record.beacon else {
        return Passed("none was named".to_owned());
    };
    let round = beacon.round;
    match (&beacon.randomness, &beacon.signature) {
        (None, None) if record.trust == Trust::Operator => {
            Passed(format!("round {round} was named and does not count"))
        }
        (None, None) if record.phase < DrawPhase::Decided => NotChecked(format!("round {round} is awaited")),
        (None, _) | (_, None) => Failed(format!("round {round}: randomness or signature is missing")),
        (Some(randomness), Some(signature)) => match chains.verify(&beacon.round(), &signature.0) {
            Ok(ours) if ours == *randomness => Passed(format!("round {round} of {}", beacon.chain_hash)),
            Ok(ours) => Failed(format!("the signature gives {ours}, the record has {randomness}")),
            Err(error) => Failed(error.to_string()),
        },
    }
}

/// What each phase must and must not show.
fn check_shape(record: &DrawRecord) -> CheckOutcome {
    let frozen = record.phase >= DrawPhase::Frozen;
    let published = record.phase >= DrawPhase::Published;
    let shown = [
        ("entrants", record.entrants.is_some(), frozen),
        ("list_digest", record.list_digest.is_some(), frozen),
        ("frozen_at", record.frozen_at.is_some(), frozen),
        ("seed", record.seed.is_some(), published),
        ("published_at", record.published_at.is_some(), published),
    ];
    for (field, there, due) in shown {
        if there != due {
            let verb = if due { "is missing" } else { "is there too early" };
            return Failed(format!("{field} {verb} in phase {:?}", record.phase));
        }
    }
    let shows_winners = !record.winners.is_empty() || !record.alternates.is_empty();
    if shows_winners && !published {
        return Failed("winners are shown before PUBLISHED".to_owned());
    }
    if record.max_winners < 0 {
        return Failed("max_winners is below 0".to_owned());
    }
    if record.published_at < record.frozen_at && published {
        return Failed("published before it was frozen".to_owned());
    }
    let mut seen = HashSet::new();
    let standing = record.winners.iter().flatten().chain(&record.alternates);
    for id in standing {
        if !seen.insert(id) {
            return Failed(format!("{id} stands twice among winners and alternates"));
        }
        if record.disqualified.iter().any(|d| d.entry_id == *id) {
            return Failed(format!("{id} is disqualified and still stands"));
        }
    }
    if record.alternates.len() > record.max_alternates as usize {
        return Failed("more alternates than max_alternates".to_owned());
    }
    if record.entrants.is_some_and(|n| (seen.len() as u64) > n) {
        return Failed("more winners and alternates than entrants".to_owned());
    }
    Passed(format!("phase {:?}", record.phase))
}
