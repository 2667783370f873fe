//! What is kept beside the entries: contacts, and members' progress in missions.

use std::collections::{BTreeMap, HashMap};

use shared_domain::{EventId, MissionType};

use super::difference::{Difference, Witness, hex};
use super::lane::TOLD;
use crate::store::error_class::StoreError;
use crate::store::reading::{Reading, ScheduledEvent};
use crate::store::rows::MissionTotal;

/// Contacts that nobody may need any more: of no entry, or of one that lost or was rejected.
pub async fn check_contacts(
    live: &mut Reading,
    event: &ScheduledEvent,
) -> Result<Vec<Difference>, StoreError> {
    if event.is_deleted {
        // They go in blocks, and the certificate tells when the last one did.
        return Ok(Vec::new());
    }
    let stray = live.stray_contacts(event.event_id, TOLD as i64).await?;
    let difference = |entry: &Vec<u8>| {
        let what = format!("contact of entry {}", hex(entry));
        let (there, not) = ("there".to_owned(), "that of no winner".to_owned());
        Difference::of_event(event.event_id, &what, there, not, Witness::Rows)
    };
    Ok(stray.iter().map(difference).collect())
}

/// Progress whose value is not the size of the set that it was counted from, and missions that earned another number of
/// records than were completed. `one`: of this event alone.
pub async fn check_missions(
    live: &mut Reading,
    totals: &[MissionTotal],
    one: Option<EventId>,
) -> Result<Vec<Difference>, StoreError> {
    let mut differences = Vec::new();
    let wanted = |event: EventId| one.is_none_or(|one| one == event);
    let types = live.mission_types().await?;
    let of_sets = [MissionType::Attendance, MissionType::FriendInvite];
    let sets: HashMap<(EventId, i16), MissionType> = types
        .iter()
        .filter_map(|(event, index, name)| Some(((*event, *index), MissionType::parse(name)?)))
        .filter(|((event, _), kind)| wanted(*event) && of_sets.contains(kind))
        .collect();
    let mut after = None;
    while !sets.is_empty() && differences.len() < TOLD {
        let (counted, last) = live.counted_missions(after, &sets).await?;
        if last.is_none() {
            break;
        }
        after = last;
        for row in counted.iter().filter(|row| row.value != row.marks) {
            let what = format!(
                "member_mission.current_value of member {}, mission {}",
                row.member_id, row.mission_index
            );
            let (found, expected) = (row.value.to_string(), format!("(mission_mark) {}", row.marks));
            differences.push(Difference::of_event(row.event_id, &what, found, expected, Witness::Rows));
        }
    }
    let mut earned: BTreeMap<(EventId, i16), i64> = BTreeMap::new();
    for (event, index, records) in live.earned_counts().await? {
        earned.insert((event, index), records);
    }
    for total in totals.iter().filter(|total| wanted(total.event_id)) {
        let records = earned.get(&(total.event_id, total.mission_index)).copied().unwrap_or(0);
        if i64::try_from(total.completed) != Ok(records) {
            let what = format!("mission_outbox of mission {}", total.mission_index);
            let (found, expected) =
                (format!("{records} records"), format!("(member_mission) {}", total.completed));
            differences.push(Difference::of_event(total.event_id, &what, found, expected, Witness::Rows));
        }
    }
    Ok(differences)
}
