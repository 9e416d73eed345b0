//! What the values of settings look like, and how they are written.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::net::address::Address;

/// What is shown in a secret's place.
const NOT_SHOWN: &str = "[set, not shown]";

/// One or more addresses: a text (several parted by commas) or a list of texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addresses(pub Vec<Address>);

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_each(deserializer, str::parse).map(Self)
    }
}

/// Any number of networks, written as addresses are. An address is the network of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks(pub Vec<IpNet>);

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| {
            let address = || text.parse().map(|address: IpAddr| address.to_canonical().into());
            let expected = "expected a network such as 10.0.0.0/8 or an IP address";
            text.parse().or_else(|_| address()).map_err(|_| expected)
        };
        parse_each(deserializer, parse).map(Self)
    }
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(IpNet::to_string))
    }
}

/// Reads texts as [`Texts`] does, and parses each; `parse` says what would be right.
fn parse_each<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<Vec<T>, D::Error> {
    let texts = Texts::deserialize(deserializer)?;
    let parse = |text: &String| {
        parse(text).map_err(|expected| serde::de::Error::custom(format!("`{text}`: {expected}")))
    };
    texts.0.iter().map(parse).collect()
}

/// One text, several parted by commas, or a list of texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Texts(pub Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMore {
            One(String),
            More(Vec<String>),
        }
        let texts = match OneOrMore::deserialize(deserializer)? {
            OneOrMore::One(text) => text.split(',').map(str::to_owned).collect(),
            OneOrMore::More(texts) => texts,
        };
        Ok(Self(
            texts.iter().map(|text| text.trim().to_owned()).filter(|t| !t.is_empty()).collect(),
        ))
    }
}

/// Secrets: a text (several parted by commas) or a list of texts, never shown.
#[derive(Debug, Clone)]
pub struct HiddenTexts(pub Vec<SecretString>);

impl<'de> Deserialize<'de> for HiddenTexts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Texts(texts) = Texts::deserialize(deserializer)?;
        Ok(Self(texts.into_iter().map(Into::into).collect()))
    }
}

impl Serialize for HiddenTexts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|_| NOT_SHOWN))
    }
}

/// A number of bytes, written "64KiB", "1MiB".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let size = text.parse::<bytesize::ByteSize>();
        size.map(|size| Self(size.as_u64()))
            .map_err(|_| serde::de::Error::custom(format!("`{text}` is no size such as \"1MiB\"")))
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
        let whole =
            units.into_iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        let (name, unit) = whole.unwrap_or(("B", 1));
        serializer.collect_str(&format_args!("{}{name}", self.0 / unit))
    }
}

/// A length of time, written "500ms", "5s", "10m".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map(Self).map_err(|error| {
            serde::de::Error::custom(format!("`{text}` is no duration such as \"5s\": {error}"))
        })
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

/// A secret of the configuration, never shown.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "String")]
pub struct Hidden(pub SecretString);

impl From<String> for Hidden {
    fn from(secret: String) -> Self {
        Self(secret.into())
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_set = !self.0.expose_secret().is_empty();
        serializer.serialize_str(if is_set { NOT_SHOWN } else { "" })
    }
}
