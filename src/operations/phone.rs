//! Phone numbers: what the button of a mini program gives a code for.

use std::sync::Arc;

use super::Operations;
use super::failure::Failure;
use crate::store::cached::Known;
use crate::wechat::users::PhoneNumber;

impl Operations {
    /// The phone number that a code stands for, if it is the code of the session's user.
    ///
    /// WeChat is asked once, whatever comes of it: it charges for every number.
    ///
    /// # Errors
    ///
    /// The [`Failure`] to answer with.
    pub async fn phone(&self, known: &Known, code: &str) -> Result<PhoneNumber, Failure> {
        let app = self.app(Some(known.app().appid.as_str())).await?;
        let _place = self.places.for_login().ok_or(Failure::TooManyLogins)?;
        let open_id = known.open_id().into();
        Ok(self.wechat.phone_number(&Arc::clone(&app), &open_id, code).await?)
    }
}
