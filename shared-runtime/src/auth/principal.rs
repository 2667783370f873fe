//! Who a good token speaks for.

use std::sync::Arc;

use serde::Deserialize;
use shared_domain::MemberId;

use super::AuthError;

const MAX_NAME_CHARS: usize = 200;

/// A member: the token's `sub` is the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The member's id.
    pub member_id: MemberId,
    /// When the token ends, in seconds since 1970-01-01 UTC.
    pub exp: i64,
}

/// Somebody on the staff: the token's `sub` is the name that stands in the audit log.
#[derive(Debug, Clone)]
pub struct Staff {
    /// The name, 1..=200 characters.
    pub name: String,
    /// When the token ends, in seconds since 1970-01-01 UTC.
    pub exp: i64,
    pub(super) token: Arc<Verified>,
}

/// Whoever calls a route that members and trusted systems share.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The member, when the token is a member's.
    pub member: Option<Member>,
    pub(super) token: Arc<Verified>,
}

impl Staff {
    /// Whether the token has a scope.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.token.has_scope(scope)
    }

    /// Errors: 403 when the token lacks the scope.
    pub fn require_scope(&self, scope: &'static str) -> Result<(), AuthError> {
        if self.has_scope(scope) { Ok(()) } else { Err(AuthError::MissingScope(scope)) }
    }

    /// The scopes, as the token lists them.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.token.scope.split_ascii_whitespace()
    }
}

impl Caller {
    /// Whether the token has a scope.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.token.has_scope(scope)
    }
}

/// The claims that we read.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    sub: String,
    exp: f64,
    aud: OneOrMany,
    #[serde(default)]
    scope: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn has(&self, audience: Option<&String>) -> bool {
        match (self, audience) {
            (_, None) => false,
            (Self::One(one), Some(audience)) => one == audience,
            (Self::Many(many), Some(audience)) => many.contains(audience),
        }
    }
}

/// A token whose signature, time, issuer and audience are good.
#[derive(Debug)]
pub(super) struct Verified {
    sub: String,
    /// What `sub` is where it is a member's id.
    member_id: Option<MemberId>,
    scope: String,
    for_members: bool,
    for_staff: bool,
    pub(super) exp: i64,
}

impl Verified {
    pub(super) fn new(claims: Claims, members: Option<&String>, staff: Option<&String>) -> Self {
        Self {
            for_members: claims.aud.has(members),
            for_staff: claims.aud.has(staff),
            // One id has one spelling: "+7" and "07" are not the member 7.
            member_id: claims.sub.parse().ok().filter(|id: &MemberId| id.to_string() == claims.sub),
            sub: claims.sub,
            scope: claims.scope,
            // A NumericDate may have a fraction; a float beyond i64 saturates.
            exp: claims.exp as i64,
        }
    }

    fn has_scope(&self, scope: &str) -> bool {
        self.scope.split_ascii_whitespace().any(|s| s == scope)
    }

    pub(super) fn member(&self) -> Result<Member, AuthError> {
        if !self.for_members {
            return Err(AuthError::Invalid("the token is for another audience"));
        }
        let member_id = self.member_id.ok_or(AuthError::Invalid("the token's sub is no member id"))?;
        Ok(Member { member_id, exp: self.exp })
    }

    pub(super) fn staff(self: Arc<Self>) -> Result<Staff, AuthError> {
        if !self.for_staff {
            return Err(if self.for_members {
                AuthError::NotStaff
            } else {
                AuthError::Invalid("the token is for another audience")
            });
        }
        if self.sub.trim().is_empty() || self.sub.chars().count() > MAX_NAME_CHARS {
            return Err(AuthError::Invalid("the token's sub is no name"));
        }
        Ok(Staff { name: self.sub.clone(), exp: self.exp, token: self })
    }

    /// A member, or whoever has this scope.
    pub(super) fn caller(self: Arc<Self>, scope: &'static str) -> Result<Caller, AuthError> {
        match self.member() {
            Ok(member) => Ok(Caller { member: Some(member), token: self }),
            Err(_) if self.has_scope(scope) => Ok(Caller { member: None, token: self }),
            Err(_) if self.for_staff => Err(AuthError::MissingScope(scope)),
            Err(error) => Err(error),
        }
    }
}
