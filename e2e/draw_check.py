#!/usr/bin/env python3
"""A second implementation of the draw and of the rewards: recomputes every vector of shared-domain/DRAW.md.

Written from that page, not from the Rust code; standard library only. It does not check drand's BLS signatures, only that
the randomness is their SHA-256. Usage: draw_check.py [DRAW.md]. Exit 1 where a vector differs.
"""
import hashlib
import hmac
import json
import os
import sys
import uuid


def i64(number):
    return number.to_bytes(8, "big")


def u16(number):
    return number.to_bytes(2, "big")


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def mac(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def draw(record, entrants):
    """What the record must say, from the seed, the list and the beacon alone."""
    event, seed = i64(record["event_id"]), bytes.fromhex(record["seed"])
    ids = [(uuid.UUID(text).bytes, weight) for text, weight in entrants]
    digest = sha256(b"list/v1", event, i64(len(ids)), *(id + u16(weight) for id, weight in ids))
    beacon = bytes(32)
    if record["trust"] == "beacon":
        beacon = sha256(bytes.fromhex(record["beacon"]["signature"]))
        assert beacon.hex() == record["beacon"]["randomness"], "randomness"
    key = mac(seed, b"draw/v1", event, digest, beacon)
    tickets = [min(mac(key, id, u16(j)) for j in range(weight)) for id, weight in ids]
    order = [id for id, _ in ids]
    if record["method"] == "RANDOM":
        order = [id for _, id in sorted(zip(tickets, order))]
    wanted = record["max_winners"]
    winners, alternates = order[:wanted], order[wanted:wanted + record["max_alternates"]]
    replaced = []
    for item in record["disqualified"]:
        out = uuid.UUID(item["entry_id"]).bytes
        moved = None
        if out in winners:
            moved = alternates.pop(0) if alternates else None
            winners[winners.index(out)] = moved
        elif out in alternates:
            alternates.remove(out)
        replaced.append(moved)
    text = lambda id: None if id is None else str(uuid.UUID(bytes=id))
    return {
        "commitment": sha256(b"seed/v1", event, seed).hex(), "entrants": len(ids), "list_digest": digest.hex(),
        "winners": [text(id) for id in winners], "alternates": [text(id) for id in alternates],
        "replaced": [text(id) for id in replaced], "draw_key": key.hex(), "tickets": [t.hex() for t in tickets],
    }


def check_draw(vector):
    record = vector["record"]
    ours = draw(record, vector["entrants"])
    claimed = {name: record[name] for name in ("commitment", "entrants", "list_digest", "winners", "alternates")}
    claimed["replaced"] = [item["replaced_by"] for item in record["disqualified"]]
    claimed.update(draw_key=vector["draw_key"], tickets=vector["tickets"])
    return [name for name in claimed if claimed[name] != ours[name]]


def check_reward(vector):
    event, key, kind = i64(vector["event_id"]), bytes.fromhex(vector["reward_key"]), vector["type"]
    low, high, target = vector["min"], vector["max"], vector.get("target")
    number = lambda *parts: int.from_bytes(mac(key, *parts)[:8], "big")
    spread = lambda a, b, u: a + (u * (b - a + 1) >> 64)
    amounts, n, paid = [], vector.get("prizes"), 0
    for k in range(len(vector["amounts"])):
        if kind == "GENERAL":
            amounts.append(spread(low, high, number(b"gen/v1", event, uuid.UUID(vector["entries"][k]).bytes)))
        elif kind == "RANDOM":
            amounts.append(spread(low, high, number(b"rnd/v1", event, i64(k))))
        else:
            rest, behind = target * n - paid, n - k - 1
            a, b = max(low, rest - high * behind), min(high, rest - low * behind)
            if k == 0:
                a = b = target
            elif paid > target * k:
                b = min(target, b)
            else:
                a = max(target, a)
            amounts.append(spread(a, b, number(b"avg/v1", event, i64(k))))
            paid += amounts[-1]
    return [] if amounts == vector["amounts"] else ["amounts"]


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "shared-domain", "DRAW.md")
    with open(path, encoding="utf-8") as page:
        vectors = json.loads(page.read().split("```json\n")[1].split("```")[0])
    wrong = 0
    for vector in vectors["draws"] + vectors["rewards"]:
        differs = check_draw(vector) if "record" in vector else check_reward(vector)
        wrong += bool(differs)
        print(vector["name"] + ":", "differs in " + ", ".join(differs) if differs else "the same")
    print(f"{len(vectors['draws'])} draws, {len(vectors['rewards'])} rewards, {wrong} differ")
    sys.exit(1 if wrong or not vectors["draws"] or not vectors["rewards"] else 0)


if __name__ == "__main__":
    main()
