//! Requests: the envelope read in one pass, and what it calls.

use std::borrow::Cow;

use super::codes::CallError;
use crate::json::{NotJson, Reader, Value};
use crate::operations::outcome::Sealed;

/// A request of the protocol, with its parameters checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The app that the envelope names, by `interface.appid` or `para.appid`.
    pub appid: Option<Cow<'a, str>>,
    pub call: Call<'a>,
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// `qcloud.cam.id_skey`
    Login { code: Cow<'a, str>, data: Option<Sealed<'a>> },
    /// `qcloud.cam.auth`
    Auth { id: Cow<'a, str>, skey: Cow<'a, str> },
    /// `qcloud.cam.decrypt`
    Decrypt { id: Cow<'a, str>, skey: Cow<'a, str>, data: Sealed<'a> },
    /// `qcloud.cam.initdata`; its other parameters are asked for and not used.
    InitData { appid: Cow<'a, str>, secret: Cow<'a, str> },
}

/// The interfaces by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    Login,
    Auth,
    Decrypt,
    InitData,
}

impl Interface {
    /// The interface of this exact name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Auth, Self::Login, Self::Decrypt, Self::InitData]
            .into_iter()
            .find(|interface| interface.name() == name)
    }

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Login => "qcloud.cam.id_skey",
            Self::Auth => "qcloud.cam.auth",
            Self::Decrypt => "qcloud.cam.decrypt",
            Self::InitData => "qcloud.cam.initdata",
        }
    }
}

impl Call<'_> {
    /// The interface that is called.
    #[must_use]
    pub fn interface(&self) -> Interface {
        match self {
            Self::Login { .. } => Interface::Login,
            Self::Auth { .. } => Interface::Auth,
            Self::Decrypt { .. } => Interface::Decrypt,
            Self::InitData { .. } => Interface::InitData,
        }
    }
}

/// A call that cannot be made: its interface, where that is known, and why.
pub type Refused = (Option<Interface>, CallError);

/// Reads a request; the checks come in the order that the contract gives them.
///
/// # Errors
///
/// The [`CallError`] to answer with.
pub fn parse(body: &[u8]) -> Result<Request<'_>, Refused> {
    let Envelope { name, para, appid } =
        Envelope::read(body).map_err(|NotJson { .. }| (None, CallError::NotJson))?;
    let name = name.ok_or((None, CallError::NoInterfaceName))?;
    let para = para.ok_or((None, CallError::NoPara))?;
    let interface = name
        .as_str()
        .and_then(|name| Interface::named(&name))
        .ok_or((None, CallError::UnknownInterface))?;
    let request = read_call(interface, &para, appid);
    request.map_err(|error| (Some(interface), error))
}

/// What stands under `interface`, without the nulls.
#[derive(Default)]
struct Envelope<'a> {
    name: Option<Value<'a>>,
    para: Option<Para<'a>>,
    appid: Option<Value<'a>>,
}

impl<'a> Envelope<'a> {
    /// Reads the whole body in one pass. Of two equal keys the last one wins, so each key begins
    /// by forgetting what an earlier one brought.
    fn read(body: &'a [u8]) -> Result<Self, NotJson> {
        let mut envelope = Self::default();
        Value::parse_members(body, |reader, key| {
            if key != "interface" {
                return reader.value().map(drop);
            }
            envelope = Self::default();
            reader.members(|reader, key| envelope.read_member(reader, key)).map(drop)
        })?;
        Ok(envelope)
    }

    fn read_member(&mut self, reader: &mut Reader<'a>, key: &str) -> Result<(), NotJson> {
        match key {
            "interfaceName" => self.name = present(reader.value()?),
            "appid" => self.appid = present(reader.value()?),
            "para" => {
                let mut para = Para::default();
                let value = reader.members(|reader, key| para.read_member(reader, key))?;
                self.para = present(value).map(|_| para);
            }
            _ => drop(reader.value()?),
        }
        Ok(())
    }
}

/// The parameters of all interfaces, by the places of their names in [`Para::NAMES`].
#[derive(Default)]
struct Para<'a>([Option<Value<'a>>; Para::NAMES.len()]);

impl<'a> Para<'a> {
    const NAMES: [&'static str; 13] = [
        "id",
        "skey",
        "code",
        "encrypt_data",
        "iv",
        "appid",
        "secret",
        "qcloud_appid",
        "ip",
        "cdb_ip",
        "cdb_port",
        "cdb_user_name",
        "cdb_pass_wd",
    ];

    fn read_member(&mut self, reader: &mut Reader<'a>, key: &str) -> Result<(), NotJson> {
        let value = reader.value()?;
        if let Some(at) = Self::NAMES.iter().position(|name| *name == key) {
            self.0[at] = present(value);
        }
        Ok(())
    }

    /// A parameter as text, when it is there.
    fn optional(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, CallError> {
        let at = Self::NAMES.iter().position(|known| *known == name);
        scalar(at.and_then(|at| self.0[at]), name)
    }

    /// A parameter as text, which must be there.
    fn needed(&self, name: &'static str) -> Result<Cow<'a, str>, CallError> {
        self.optional(name)?.ok_or(CallError::Parameter(name))
    }
}

fn present(value: Value<'_>) -> Option<Value<'_>> {
    Some(value).filter(|value| !value.is_null())
}

fn scalar<'a>(
    value: Option<Value<'a>>,
    name: &'static str,
) -> Result<Option<Cow<'a, str>>, CallError> {
    value.map(|value| value.as_scalar().ok_or(CallError::Parameter(name))).transpose()
}

fn read_call<'a>(
    interface: Interface,
    para: &Para<'a>,
    outer_appid: Option<Value<'a>>,
) -> Result<Request<'a>, CallError> {
    let call = match interface {
        Interface::Auth => Call::Auth { id: para.needed("id")?, skey: para.needed("skey")? },
        Interface::Login => {
            let code = para.needed("code")?;
            let iv = para.optional("iv")?;
            // Forks of the client SDK sent the word when they had no data.
            let encrypted = para
                .optional("encrypt_data")?
                .filter(|encrypted| !encrypted.is_empty() && encrypted != "empty");
            Call::Login { code, data: encrypted.map(|encrypted| Sealed { encrypted, iv }) }
        }
        Interface::Decrypt => {
            let [id, skey] = [para.needed("id")?, para.needed("skey")?];
            let encrypted = para.needed("encrypt_data")?;
            Call::Decrypt { id, skey, data: Sealed { encrypted, iv: para.optional("iv")? } }
        }
        Interface::InitData => {
            for name in ["qcloud_appid", "ip", "cdb_ip", "cdb_port", "cdb_user_name", "cdb_pass_wd"]
            {
                para.needed(name)?;
            }
            Call::InitData { appid: para.needed("appid")?, secret: para.needed("secret")? }
        }
    };
    let appid = match (interface, outer_appid) {
        // Its `appid` is what to set, not whom to ask.
        (Interface::InitData, _) => None,
        (_, None) => para.optional("appid")?,
        (_, outer) => scalar(outer, "appid")?,
    };
    Ok(Request { appid: appid.filter(|appid| !appid.is_empty()), call })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &str) -> u32 {
        parse(body.as_bytes()).map_or_else(|(_, error)| error.answer().0, |_| 0)
    }

    #[test]
    fn checks_come_in_the_contracts_order() {
        assert_eq!(code("{"), 1009);
        assert_eq!(code(r#"{"interface":{"para":{}}}"#), 1002);
        assert_eq!(code(r#"{"interface":{"interfaceName":7}}"#), 1011);
        assert_eq!(code(r#"{"interface":{"interfaceName":7,"para":1}}"#), 1010);
        assert_eq!(code(r#"{"interface":{"interfaceName":"qcloud.cam.auth","para":1}}"#), 1003);
    }

    #[test]
    fn a_later_null_takes_a_parameter_away() {
        let body = r#"{"interface":{"interfaceName":"qcloud.cam.auth","para":{"id":"a","skey":"b","id":null}}}"#;
        assert_eq!(code(body), 1003);
    }

    #[test]
    fn scalars_are_taken_as_their_text() {
        let body = br#"{"interface":{"interfaceName":"qcloud.cam.auth","para":{"id":1.50,"skey":true,"appid":7}}}"#;
        let request = parse(body).unwrap();
        assert_eq!(request.appid.as_deref(), Some("7"));
        assert_eq!(request.call, Call::Auth { id: "1.50".into(), skey: "true".into() });
    }

    #[test]
    fn the_outer_appid_goes_before_the_inner_one() {
        let body = br#"{"interface":{"appid":"wx1","interfaceName":"qcloud.cam.auth","para":{"id":"a","skey":"b","appid":"wx2"}}}"#;
        assert_eq!(parse(body).unwrap().appid.as_deref(), Some("wx1"));
    }
}
