//! The calls of the plain API: what a request says, as the call of an operation.

use std::borrow::Cow;
use std::sync::Arc;

use hyper::header::HeaderMap;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::problem::Error;
use super::{Asked, Endpoint, Success};
use crate::http::Shared;
use crate::http::credential::{Credential, Headers as _, Offered, parameter};
use crate::json::Value;
use crate::operations::outcome::{Kind, Sealed};
use crate::store::cached::Known;

impl Shared {
    /// Does what a request asks for.
    pub(super) async fn call_v1(
        &self,
        endpoint: Endpoint,
        head: &Parts,
        body: &[u8],
        asked: &mut Asked,
    ) -> Result<Success, Error> {
        let now = asked.now();
        let query = endpoint.own_query(head.uri.path(), head.uri.query().unwrap_or_default());
        let appid = parameter(query, "appid");
        let appid = appid.as_deref().filter(|appid| !appid.is_empty());
        let url = self.original_url(&head.headers);
        let offered = || match endpoint {
            Endpoint::ForwardAuth => offered_to_proxy(&head.headers, url.as_deref()),
            _ => Offered::in_headers(&head.headers),
        };
        asked.app = self.app_meant(appid);
        match endpoint {
            Endpoint::Login => self.log_in(body, appid, asked).await,
            Endpoint::WaferLogin => self.wafer_login(&head.headers, appid, asked).await,
            Endpoint::Decrypt => {
                let Credential { id, skey } = offered().wanted()?;
                let data = Object::read(body)?.sealed()?.ok_or(Error::Member("encryptedData"))?;
                let opened = self.operations.decrypt(id, skey, &data, appid, now).await?;
                Ok(Success::Decrypted(opened))
            }
            Endpoint::Phone if !self.v1.is_some_and(|v1| v1.phone) => {
                Err(Error::Http(StatusCode::NOT_FOUND, "`api.phone` is off"))
            }
            Endpoint::Phone => {
                let known = self.check(offered().wanted()?, appid, now).await?;
                let code = Object::read(body)?.text("code")?.ok_or(Error::Member("code"))?;
                let number = self.operations.phone(&known, &code).await?;
                Ok(Success::Phone(known, number))
            }
            Endpoint::Session if head.method == Method::DELETE => {
                let Credential { id, skey } = offered().wanted()?;
                self.operations.log_out(id, skey, appid, now).await?;
                Ok(Success::LoggedOut)
            }
            Endpoint::ForwardAuth
                if offered() == Offered::Nothing
                    && parameter(query, "optional").as_deref() == Some("1") =>
            {
                Ok(Success::Anonymous)
            }
            Endpoint::Session | Endpoint::ForwardAuth => {
                self.check(offered().wanted()?, appid, now).await.map(Success::Checked)
            }
        }
    }

    /// Checks a session, in memory if it is there.
    pub(super) async fn check(
        &self,
        Credential { id, skey }: Credential<'_>,
        appid: Option<&str>,
        now: i64,
    ) -> Result<Arc<Known>, Error> {
        match self.operations.check_known(id, skey, appid, now) {
            Some(known) => Ok(known),
            None => Ok(self.operations.check(id, skey, appid, now).await?),
        }
    }

    async fn log_in(
        &self,
        body: &[u8],
        appid: Option<&str>,
        asked: &mut Asked,
    ) -> Result<Success, Error> {
        let object = Object::read(body)?;
        let code = object.text("code")?.ok_or(Error::Member("code"))?;
        let data = object.sealed()?;
        let named = object.text("appid")?;
        let named = named.as_deref().or(appid);
        asked.app = self.app_meant(named);
        let app = self.operations.app(named).await?;
        asked.app = Some(Arc::clone(&app));
        let login = self.operations.login(app, &code, data, Kind::Device, asked.now());
        Ok(Success::LoggedIn(login.await?))
    }

    /// What the login of a server SDK does. The session is one as the Wafer protocol has it.
    async fn wafer_login(
        &self,
        headers: &HeaderMap,
        appid: Option<&str>,
        asked: &mut Asked,
    ) -> Result<Success, Error> {
        let header = |name| headers.text(name).filter(|value| !value.is_empty());
        let code = header("x-wx-code").ok_or(Error::Member("X-WX-Code"))?;
        let iv = header("x-wx-iv").map(Cow::from);
        let data = header("x-wx-encrypted-data")
            .map(|encrypted| Sealed { encrypted: encrypted.into(), iv });
        let app = self.operations.app(appid).await?;
        asked.app = Some(Arc::clone(&app));
        let login = self.operations.login(app, code, data, Kind::Shared, asked.now());
        Ok(Success::LoggedIn(login.await?))
    }

    /// The URL that a proxy asks about, where a token in it counts.
    fn original_url<'a>(&self, headers: &'a HeaderMap) -> Option<Cow<'a, str>> {
        let is_read = self.v1.is_some_and(|v1| v1.token_in_url);
        let url =
            ["x-forwarded-uri", "x-original-uri"].into_iter().find_map(|name| headers.text(name));
        let (_, query) = url.filter(|_| is_read)?.split_once('?')?;
        parameter(query, "token")
    }
}

/// What the request that a proxy asks about offers. Its headers go first.
fn offered_to_proxy<'a>(headers: &'a HeaderMap, token: Option<&'a str>) -> Offered<'a> {
    let in_url = || token.map_or(Offered::Nothing, Offered::of_token);
    [Offered::in_headers(headers), Offered::in_subprotocols(headers), in_url()]
        .into_iter()
        .find(|offered| *offered != Offered::Nothing)
        .unwrap_or(Offered::Nothing)
}

impl<'a> Offered<'a> {
    /// The credential, which must be there.
    fn wanted(self) -> Result<Credential<'a>, Error> {
        match self {
            Self::Credential(credential) => Ok(credential),
            Self::Nonsense => Err(Error::Nonsense),
            Self::Nothing => Err(Error::NoCredential),
        }
    }
}

/// The body of a request.
struct Object<'a>(Value<'a>);

impl<'a> Object<'a> {
    fn read(body: &'a [u8]) -> Result<Self, Error> {
        let value = Value::parse(body).ok().filter(|value| value.is_object());
        value.map(Self).ok_or(Error::NotJson)
    }

    /// A member's text; `None` when it is absent, null or empty.
    fn text(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, Error> {
        let value = self.0.get(name).filter(|value| !value.is_null());
        let text = value.map(|value| value.as_scalar().ok_or(Error::Member(name))).transpose()?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    fn sealed(&self) -> Result<Option<Sealed<'a>>, Error> {
        let (encrypted, iv) = (self.text("encryptedData")?, self.text("iv")?);
        Ok(encrypted.map(|encrypted| Sealed { encrypted, iv }))
    }
}
