//! Who is asking: members and staff, by JWT.
//!
//! Keys come from configuration only ([`AuthArgs`]); nothing that a token says (`jku`, `x5u`, `jwk`) is ever fetched or
//! believed.

mod args;
mod dev_key;
mod error;
mod jwks;
mod jwt;
mod keys;
mod principal;
#[cfg(test)]
mod tests;

pub use args::{Audiences, AuthArgs};
pub use dev_key::{
    DEV_ISSUER, DEV_MEMBER_AUDIENCE, DEV_STAFF_AUDIENCE, DevKey, DevKeyError, read_secret_file,
    write_secret_file,
};
pub use error::AuthError;
pub use jwt::Verifier;
pub use principal::{Caller, Member, Staff};
