//! Table definitions, one text for both databases. Mirrors `migrations/`.

#![allow(missing_docs)]

diesel::table! {
    events (event_id) {
        event_id -> BigInt,
        lifecycle -> SmallInt,
        paused -> Bool,
        title -> Text,
        content -> Text,
        event_type -> SmallInt,
        starts_at -> BigInt,
        ends_at -> BigInt,
        draft -> Nullable<Text>,
        scheduled -> Nullable<Binary>,
        topic -> Nullable<Text>,
        lane_count -> Integer,
        salt -> Nullable<Binary>,
        limit_per_second -> Nullable<BigInt>,
        raffle_limit_per_second -> Nullable<BigInt>,
        member_limit_per_second -> Nullable<BigInt>,
        high_traffic -> Nullable<Bool>,
        version -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
        deleted_at -> Nullable<BigInt>,
        claim_until -> Nullable<BigInt>,
    }
}

diesel::table! {
    event_lock (event_id) {
        event_id -> BigInt,
        lock_key -> Text,
        next_ordinal -> BigInt,
    }
}

diesel::table! {
    event_lane (event_id, lane) {
        event_id -> BigInt,
        lane -> Integer,
        is_scheduled -> Bool,
        seq -> BigInt,
        wins -> BigInt,
        losses -> BigInt,
        rejections -> BigInt,
        paid -> BigInt,
        block_paid -> BigInt,
        digest -> Binary,
        review_number -> Nullable<Text>,
        approved_from -> Nullable<BigInt>,
        approved_until -> Nullable<BigInt>,
        closed_offset -> Nullable<BigInt>,
        deleted_offset -> Nullable<BigInt>,
        exhausted_offset -> Nullable<BigInt>,
        exhausted_log_id -> Nullable<Text>,
        parked_offset -> Nullable<BigInt>,
        parked_since -> Nullable<BigInt>,
        parked_reason -> Nullable<Text>,
        unpark_requested -> Bool,
    }
}

diesel::table! {
    event_stock (event_id, lane, option_index) {
        event_id -> BigInt,
        lane -> Integer,
        option_index -> SmallInt,
        option_name -> Text,
        granted -> BigInt,
        stock_count -> BigInt,
    }
}

diesel::table! {
    event_reward (event_id) {
        event_id -> BigInt,
        reward_type -> Text,
        min_amount -> Nullable<BigInt>,
        max_amount -> Nullable<BigInt>,
        target_average -> Nullable<BigInt>,
        fixed_amount -> Nullable<BigInt>,
        wrapped_key -> Nullable<Binary>,
    }
}

diesel::table! {
    draw (event_id) {
        event_id -> BigInt,
        draw_id -> Binary,
        phase -> SmallInt,
        requested -> Bool,
        publish -> Bool,
        rules_version -> Integer,
        method -> SmallInt,
        max_winners -> BigInt,
        max_alternates -> BigInt,
        commitment -> Binary,
        wrapped_seed -> Binary,
        seed -> Nullable<Binary>,
        trust -> SmallInt,
        beacon_chain -> Nullable<Binary>,
        beacon_round -> Nullable<BigInt>,
        beacon_randomness -> Nullable<Binary>,
        beacon_signature -> Nullable<Binary>,
        entrants -> Nullable<BigInt>,
        list_digest -> Nullable<Binary>,
        winners -> BigInt,
        paid -> BigInt,
        stored_places -> BigInt,
        applied_places -> BigInt,
        applied_lane -> Integer,
        applied_seq -> BigInt,
        frozen_at -> Nullable<BigInt>,
        decided_at -> Nullable<BigInt>,
        published_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    draw_result (event_id, place) {
        event_id -> BigInt,
        place -> BigInt,
        entry_id -> Binary,
        entry_rank -> Nullable<BigInt>,
        alternate -> Nullable<BigInt>,
        reward_amount -> BigInt,
        disqualified -> Bool,
    }
}

diesel::table! {
    draw_disqualified (event_id, ordinal) {
        event_id -> BigInt,
        ordinal -> BigInt,
        entry_id -> Binary,
        replaced_by -> Nullable<Binary>,
        reason -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    event_entry (event_id, lane, seq) {
        event_id -> BigInt,
        lane -> Integer,
        seq -> BigInt,
        entry_id -> Binary,
        member_id -> BigInt,
        status -> SmallInt,
        reason -> Nullable<SmallInt>,
        option_index -> Nullable<SmallInt>,
        reward_amount -> BigInt,
        entry_rank -> Nullable<BigInt>,
        log_offset -> BigInt,
        accepted_at -> BigInt,
        decided_at -> BigInt,
        missions -> BigInt,
    }
}

diesel::table! {
    mission (event_id, mission_index) {
        event_id -> BigInt,
        mission_index -> SmallInt,
        title -> Text,
        mission_type -> Text,
        goal_value -> BigInt,
        self_reported -> Bool,
        option_index -> Nullable<SmallInt>,
        weight -> Nullable<SmallInt>,
    }
}

diesel::table! {
    member_mission (member_id, event_id, mission_index) {
        member_id -> BigInt,
        event_id -> BigInt,
        mission_index -> SmallInt,
        current_value -> BigInt,
        latest_at -> Nullable<BigInt>,
        is_completed -> Bool,
        completed_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    mission_mark (member_id, event_id, mission_index, mark) {
        member_id -> BigInt,
        event_id -> BigInt,
        mission_index -> SmallInt,
        mark -> BigInt,
    }
}

diesel::table! {
    mission_outbox (outbox_id) {
        outbox_id -> BigInt,
        event_id -> BigInt,
        mission_index -> SmallInt,
        member_id -> BigInt,
        topic -> Text,
        lane -> Integer,
        record -> Binary,
        created_at -> BigInt,
        published_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    partition_progress (log_id, topic, partition_id) {
        log_id -> Text,
        topic -> Text,
        partition_id -> Integer,
        next_offset -> BigInt,
        last_hash -> Nullable<Binary>,
        updated_at -> BigInt,
    }
}

diesel::table! {
    outbox (event_id, ordinal, lane) {
        event_id -> BigInt,
        ordinal -> BigInt,
        lane -> Integer,
        command_id -> Binary,
        kind -> Text,
        topic -> Text,
        record -> Binary,
        not_before -> Nullable<BigInt>,
        published_at -> Nullable<BigInt>,
        settled_at -> Nullable<BigInt>,
        status -> SmallInt,
        reason -> Nullable<Text>,
        actor -> Text,
        request_id -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    command_applied (command_id, lane) {
        command_id -> Binary,
        lane -> Integer,
        event_id -> BigInt,
        log_offset -> BigInt,
        status -> SmallInt,
        reason -> Nullable<Text>,
        applied_at -> BigInt,
    }
}

diesel::table! {
    event_approval (event_id, lane, from_seq) {
        event_id -> BigInt,
        lane -> Integer,
        from_seq -> BigInt,
        review_number -> Text,
        approved_from -> BigInt,
        approved_until -> BigInt,
    }
}

diesel::table! {
    parked_record (event_id, lane, log_offset) {
        event_id -> BigInt,
        lane -> Integer,
        log_offset -> BigInt,
        record -> Binary,
        reason -> Text,
        parked_at -> BigInt,
        given_up -> Bool,
    }
}

diesel::table! {
    idempotency_key (actor, route, request_key) {
        actor -> Text,
        route -> Text,
        request_key -> Text,
        body_hash -> Binary,
        answer_status -> SmallInt,
        answer -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    relay_lease (name) {
        name -> Text,
        holder -> Binary,
        held_until -> BigInt,
    }
}

diesel::table! {
    audit_log (audit_id) {
        audit_id -> BigInt,
        at -> BigInt,
        actor -> Text,
        action -> Text,
        event_id -> Nullable<BigInt>,
        request_id -> Text,
        outcome -> Text,
        detail -> Text,
    }
}

diesel::table! {
    contact (event_id, entry_id) {
        event_id -> BigInt,
        entry_id -> Binary,
        sealed -> Binary,
        at -> BigInt,
    }
}

diesel::table! {
    contact_erasure (subject, subject_id) {
        subject -> SmallInt,
        subject_id -> BigInt,
        erased_until -> BigInt,
        contacts_destroyed -> BigInt,
        is_done -> Bool,
    }
}

// Key store.

diesel::table! {
    event_key (event_id) {
        event_id -> BigInt,
        key_id -> Binary,
        public_key -> Binary,
        wrapped_key -> Nullable<Binary>,
        wrapped_by -> Binary,
        created_at -> BigInt,
        destroyed_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    erasure (erasure_id) {
        erasure_id -> Binary,
        subject -> SmallInt,
        subject_id -> BigInt,
        actor -> Text,
        request_id -> Text,
        erased_at -> BigInt,
        record -> Nullable<Text>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(events, event_lane);
diesel::allow_tables_to_appear_in_same_query!(events, event_entry);
diesel::allow_tables_to_appear_in_same_query!(events, draw);
diesel::allow_tables_to_appear_in_same_query!(draw_result, event_entry);
diesel::allow_tables_to_appear_in_same_query!(contact, event_entry);
diesel::allow_tables_to_appear_in_same_query!(command_applied, outbox);
diesel::allow_tables_to_appear_in_same_query!(events, mission_outbox);
