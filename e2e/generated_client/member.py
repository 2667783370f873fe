"""A member's whole way, by a client that was generated from the public listener's OpenAPI document and nothing else.

Standard input: {"url", "token", "other_token", "event", "raffle", "walk"}: a FIRST_COME event with stock, a raffle, and an event that
asks members to walk 10 steps by their own word, all open.
What does not hold ends it.
"""

import json
import sys
import time

from public_client import AuthenticatedClient, Client
from public_client.api.draws import get_draw, get_entrants
from public_client.api.entries import claim, enter, get_entry, list_my_entries, stream_entry
from public_client.api.events import get_event, get_ranking, list_events
from public_client.api.missions import list_missions, report
from public_client.models import (
    Accepted,
    Activity,
    Contact,
    DrawPhase,
    DrawRecord,
    Entries,
    Entry,
    EntryBody,
    EntryState,
    Event,
    Events,
    EventStatus,
    EventType,
    Missions,
    MissionType,
    Problem,
    Ranking,
    Reported,
)

BUDGET = 60.0

given = json.load(sys.stdin)
url, event, raffle, walk = given["url"], given["event"], given["raffle"], given["walk"]
anyone = Client(base_url=url)
me = AuthenticatedClient(base_url=url, token=given["token"])
other = AuthenticatedClient(base_url=url, token=given["other_token"])


def ask(operation, status, kind, *args, **kwargs):
    """Asks; the answer has this status and is of this type, however the client came to it."""
    answer = operation.sync_detailed(*args, **kwargs)
    assert answer.status_code == status, answer
    assert isinstance(answer.parsed, kind), answer
    assert answer.headers["X-Request-Id"], answer
    return answer.parsed


def refused(operation, status, code, *args, **kwargs):
    problem = ask(operation, status, Problem, *args, **kwargs)
    assert (problem.status, problem.code) == (status, code), problem
    return problem


def until(what, look):
    """Polls, as a client without streams does."""
    end = time.monotonic() + BUDGET
    while not (found := look()):
        assert time.monotonic() < end, f"not within {BUDGET} s: {what}"
        time.sleep(0.1)
    return found


def all_pages(operation, kind, field, client):
    found, cursor = [], {}
    while True:
        page = ask(operation, 200, kind, client=client, limit=1, **cursor)
        found += getattr(page, field)
        if page.next_cursor is None:
            return found
        cursor = {"cursor": page.next_cursor}


# What is there?
events = {listed.event_id: listed for listed in all_pages(list_events, Events, "events", anyone)}
assert {event, raffle, walk} <= events.keys(), events.keys()
shown = ask(get_event, 200, Event, event, client=anyone)
assert (shown.status, shown.type_) == (EventStatus.OPEN, EventType.FIRST_COME), shown
assert shown.starts_at < shown.server_time < shown.ends_at, shown
assert shown.options[0].name == "DEFAULT", shown
assert events[raffle].type_ == EventType.RAFFLE and len(events[raffle].draw_commitment) == 64

# In, once, however often one presses.
accepted = ask(enter, 202, Accepted, event, client=me, body=EntryBody(options=["DEFAULT"]))
assert (accepted.event_id, accepted.code, accepted.status) == (event, "APPLIED", EntryState.QUEUED), accepted
again = enter.sync_detailed(event, client=me)
assert again.status_code in (200, 202) and again.parsed.entry_id == accepted.entry_id, again

# The result: by the receipt from the first moment, by the stream, and by token.
by_receipt = anyone.with_headers({"X-Entry-Receipt": accepted.receipt})


def decided():
    entry = ask(get_entry, 200, Entry, accepted.entry_id, client=by_receipt)
    return entry if entry.status != EntryState.QUEUED else None


won = until("the entry is decided", decided)
assert (won.status, won.option, won.reward_amount, won.rank, won.seq) == (EntryState.WIN, "DEFAULT", 7, 1, 1), won
assert won.accepted_at <= won.decided_at, won
assert until("by token", lambda: get_entry.sync(accepted.entry_id, client=me)) == won
kwargs = {"headers": {"X-Entry-Receipt": accepted.receipt}}
with anyone.get_httpx_client().stream("GET", f"/v1/entries/{accepted.entry_id}/stream", **kwargs) as stream:
    lines = list(stream.iter_lines())
told = lines.index("event: result")
data = next(line for line in lines[told:] if line.startswith("data: "))
assert Entry.from_dict(json.loads(data.removeprefix("data: "))) == won, lines
known = ask(stream_entry, 204, type(None), accepted.entry_id, client=by_receipt, last_event_id="result")
assert known is None

# A raffle's entry waits for its draw.
pending = enter.sync_detailed(raffle, client=me)
assert pending.status_code in (201, 202) and pending.parsed.code == "APPLIED_RAFFLE", pending
mine = until(
    "both entries are listed",
    lambda: (lambda page: page if len(page.entries) == 2 else None)(ask(list_my_entries, 200, Entries, client=me)),
)
assert [entry.entry_id for entry in mine.entries] == [pending.parsed.entry_id, accepted.entry_id], mine
assert (mine.entries[0].status, mine.entries[1]) == (EntryState.PENDING, won), mine
assert all_pages(list_my_entries, Entries, "entries", me) == mine.entries
assert ask(list_my_entries, 200, Entries, client=other).entries == []
draw = ask(get_draw, 200, DrawRecord, raffle, client=anyone)
assert (draw.phase, draw.seed, draw.winners) == (DrawPhase.SCHEDULED, None, []), draw


# Popular.
def ranked():
    scores = {r.event_id: (r.title, r.score) for r in ask(get_ranking, 200, Ranking, client=anyone).events}
    return scores if {event, raffle} <= scores.keys() else None


scores = until("both events are ranked", ranked)
assert (scores[event], scores[raffle]) == ((shown.title, 1), (events[raffle].title, 1)), scores

# A mission: ten steps earn an entry by themselves.
mission = ask(list_missions, 200, Missions, walk, client=me).missions[0]
assert (mission.mission_type, mission.goal_value, mission.current_value) == (MissionType.STEP_COUNT, 10, 0), mission
for steps in (9, 12):
    walked = Activity(mission_type=MissionType.STEP_COUNT, value=steps)
    reported = ask(report, 202, Reported, client=me, body=walked)
    assert reported.events == [walk], reported
done = until(
    "the mission is completed",
    lambda: (lambda found: found if found.is_completed else None)(
        ask(list_missions, 200, Missions, walk, client=me).missions[0]
    ),
)
assert done.current_value == 12 and done.completed_at is not None, done
earned = until(
    "its entry is listed",
    lambda: next((e for e in ask(list_my_entries, 200, Entries, client=me).entries if e.event_id == walk), None),
)
assert earned.status == EntryState.WIN, earned
assert ask(list_missions, 200, Missions, event, client=me).missions == []

# The prize.
answer = claim.sync_detailed(accepted.entry_id, client=me, body=Contact(email="me@mail.example"))
assert (answer.status_code, answer.parsed) == (204, None), answer

# What goes wrong is told in the document's own terms.
refused(get_event, 404, "EVENT_NOT_FOUND", 9_000_000_000, client=anyone)
refused(get_entry, 404, "ENTRY_NOT_FOUND", accepted.entry_id, client=other)
refused(get_entry, 401, "INVALID_RECEIPT", pending.parsed.entry_id, client=by_receipt)
refused(enter, 401, "UNAUTHENTICATED", event, client=anyone)
refused(list_my_entries, 401, "UNAUTHENTICATED", client=anyone)
refused(enter, 422, "UNKNOWN_OPTION", event, client=other, body=EntryBody(options=["none"]))
refused(claim, 422, "INVALID_REQUEST", accepted.entry_id, client=me, body=Contact(phone_number="12"))
someone_else = Activity(mission_type=MissionType.ATTENDANCE, member_id=2)
refused(report, 403, "FORBIDDEN", client=me, body=someone_else)
refused(report, 422, "INVALID_REQUEST", client=me, body=Activity(mission_type=MissionType.STEP_COUNT, value=-1))
refused(list_missions, 404, "EVENT_NOT_FOUND", 9_000_000_000, client=me)
refused(get_entrants, 404, "DRAW_NOT_FROZEN", raffle, client=anyone)
wrong = refused(list_my_entries, 422, "INVALID_REQUEST", client=me, limit=201)
assert [violation.pointer for violation in wrong.errors] == ["query:limit"], wrong
print("the generated client went a member's whole way")
