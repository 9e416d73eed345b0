//! Logs out: the session is over, on every node.

use std::sync::Arc;

use super::failure::Failure;
use super::{Operations, to_the_end};
use crate::store::{Selection, Store as _, Whose};

impl Operations {
    /// Ends a session for the one who has it. Other nodes hear of it by the change feed.
    ///
    /// # Errors
    ///
    /// The [`Failure`] to answer with; that of a check when the session is over already.
    pub async fn log_out(
        self: &Arc<Self>,
        id: &str,
        skey: &str,
        appid: Option<&str>,
        now: i64,
    ) -> Result<(), Failure> {
        self.ask_the_store(async {
            let known = self.find_valid(id, skey, appid, now).await?.map_err(Failure::Auth)?;
            // If another login has renewed it meanwhile, that one stays.
            let selection = Selection { appid: None, whose: Whose::Login(id.into(), known.skey()) };
            let operations = Arc::clone(self);
            let ended = to_the_end(async move { operations.store.revoke(&selection).await }).await;
            ended.map(drop).map_err(|error| Failure::LogoutNotWritten(error.into()))
        })
        .await
    }
}
