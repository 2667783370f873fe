//! The topics, as an enum: a name exists in one place.

/// A topic of the log (DESIGN section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// First-come and general entries, and the commands of their events.
    Apply,
    /// Raffle entries, and the commands of their events.
    Raffle,
    /// Members' activities.
    Activity,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Topic; 3] = [Topic::Apply, Topic::Raffle, Topic::Activity];

    /// Name without prefix.
    pub fn base_name(self) -> &'static str {
        match self {
            Self::Apply => "event-apply-topic",
            Self::Raffle => "event-raffle-topic",
            Self::Activity => "member-activity-topic",
        }
    }
}

/// Full topic names under one prefix (empty by default), so that several systems can share a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicNames {
    prefix: String,
}

impl TopicNames {
    /// Names that start with `prefix`.
    pub fn with_prefix(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// The topic's full name.
    pub fn name(&self, topic: Topic) -> String {
        format!("{}{}", self.prefix, topic.base_name())
    }

    /// Name of the topic that takes this topic's dead letters.
    pub fn dead_letter_name(&self, topic: Topic) -> String {
        dead_letter_name(&self.name(topic))
    }

    /// Which topic a full name stands for.
    pub fn topic(&self, name: &str) -> Option<Topic> {
        let base = name.strip_prefix(self.prefix.as_str())?;
        Topic::ALL.into_iter().find(|t| t.base_name() == base)
    }
}

/// Dead letters of a topic, by its full name.
pub fn dead_letter_name(topic: &str) -> String {
    format!("{topic}.DLT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        let names = TopicNames::with_prefix("t1-");
        assert_eq!(names.name(Topic::Apply), "t1-event-apply-topic");
        assert_eq!(names.dead_letter_name(Topic::Raffle), "t1-event-raffle-topic.DLT");
        assert_eq!(names.topic("t1-member-activity-topic"), Some(Topic::Activity));
        assert_eq!(names.topic("event-apply-topic"), None);
    }
}
