//! Deleting an event and erasing a member's contacts (DESIGN section 8).

use std::sync::Arc;

use sha2::{Digest, Sha256};
use shared_domain::Lifecycle;
use shared_runtime::http::{Params, Problem, Request, Response};
use shared_runtime::store::commands::Change;
use shared_runtime::store::rows::{ErasureRow, Subject};

use crate::change::{answer, key_of};
use crate::commands::Nothing;
use crate::routes::{Answer, CONTACTS, READ, WRITE};
use crate::{Admin, certificate, desk, problem};

pub(crate) async fn delete(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, WRITE).await?;
    let event = admin.event_of(&params).await?;
    let body: Nothing = request.json_or_default(request.body_limit()).await?;
    Ok(answer(admin.make(&request, &staff, &body, 202, Change::Delete(event)).await?))
}

/// The certificate, or how far the deletion has come.
pub(crate) async fn get(admin: Arc<Admin>, request: Request, params: Params) -> Answer {
    admin.staff(&request, READ).await?;
    request.only_query(&[])?;
    let event = params.id("event_id").ok_or_else(Problem::event_not_found)?;
    let keys = admin.parts.keys.clone();
    // The list stands for what a restored database may not know.
    let (noted, key) =
        admin
            .ask(move |_| async move {
                Ok((keys.erasures_of(Subject::Event, event).await?, keys.key(event).await?))
            })
            .await?;
    if let Some(text) = noted.into_iter().find_map(|row| row.record) {
        let complete = serde_json::from_str(&text).map_err(|_| Problem::internal())?;
        return Ok(Response::ok(&certificate::signed(complete, &admin.parts.wrapping)));
    }
    let (row, state) = admin
        .ask(move |store| async move { Ok((store.event(event).await?, store.deletion_state(event).await?)) })
        .await?;
    let row = row.ok_or_else(Problem::event_not_found)?;
    let life = admin.parts.backup_life;
    if let (true, Some(at)) = (row.lifecycle == Lifecycle::Draft.code(), row.deleted_at) {
        // Nobody could enter a draft: there was nothing to destroy.
        let complete = certificate::of_event(event, None, None, Some(at), life);
        return Ok(Response::ok(&certificate::signed(complete, &admin.parts.wrapping)));
    }
    let state = state.ok_or_else(|| Problem::missing("DELETION_NOT_FOUND", "the event is not deleted"))?;
    Ok(Response::ok(&certificate::of_event(event, key.as_ref(), Some(&state), None, life)))
}

/// Noted in the key store's list first, so that no restored backup brings back what is destroyed then.
pub(crate) async fn erase_member(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, WRITE).await?;
    staff.require_scope(CONTACTS).map_err(problem::of_auth)?;
    let member = desk::member_of(&params)?;
    let body: Nothing = request.json_or_default(request.body_limit()).await?;
    request.only_query(&[])?;
    let parts = &admin.parts;
    // What is refused must not be in the list: a restart would carry it out.
    let erasure_id = match key_of(&request, &body)? {
        // The same request is the same erasure.
        Some(key) => {
            let name = [staff.name.as_str(), request.path.as_str(), &key.key].join("\n");
            let digest = Sha256::digest(name);
            let mut id = [0; 16];
            id.copy_from_slice(&digest[..16]);
            id
        }
        None => parts.random.id(),
    };
    let erasure_id = uuid::Builder::from_custom_bytes(erasure_id).into_uuid();
    let row = ErasureRow {
        erasure_id: erasure_id.as_bytes().to_vec(),
        subject: Subject::Member.code(),
        subject_id: member,
        actor: staff.name.clone(),
        request_id: request.request_id().to_owned(),
        erased_at: parts.clock.now_ms(),
        record: None,
    };
    let keys = parts.keys.clone();
    let noted = admin.ask(move |_| async move { keys.note(&row).await }).await?;
    let erased_at = noted.erased_at;
    let change = Change::EraseMember { member, erasure_id: erasure_id.into_bytes(), erased_at };
    let answered = admin.make(&request, &staff, &body, 200, change).await?;
    let (keys, record) = (parts.keys.clone(), answered.body.clone());
    admin.ask(move |_| async move { keys.complete(erasure_id.as_bytes(), &record).await }).await?;
    Ok(answer(answered))
}
