//! The people who hold the phones.

use axum::body::Bytes;
use sha1::{Digest as _, Sha1};

use super::object::{Members, Object, quoted};
use crate::recent::Recent;

/// How many people with a unionid or profile of their own are known at once.
const CAPACITY: usize = 10_000;

/// Nicknames of people who do not exist. Some are hard to store, as real ones are.
const NICKNAMES: [&str; 8] = ["Band", "小明", "阿May", "大熊🐻", "木子", "Echo.", "O'Neil", "晚风"];

/// Where they live: city and province.
const PLACES: [(&str, &str); 8] = [
    ("Guangzhou", "Guangdong"),
    ("Shenzhen", "Guangdong"),
    ("Hangzhou", "Zhejiang"),
    ("Chengdu", "Sichuan"),
    ("Nanjing", "Jiangsu"),
    ("Wuhan", "Hubei"),
    ("Xi'an", "Shaanxi"),
    ("Changsha", "Hunan"),
];

/// The people of whom more was said than their openid, in each app.
#[derive(Debug)]
pub(super) struct People(Recent<(usize, String), Person>);

/// What was said of a person.
#[derive(Debug, Clone, Default)]
pub(super) struct Person {
    pub(super) unionid: Option<String>,
    pub(super) profile: Option<Object>,
}

impl Default for People {
    fn default() -> Self {
        Self(Recent::new(CAPACITY))
    }
}

impl People {
    /// The person with this openid. What is said now holds from now on.
    pub(super) fn meet(&mut self, app: usize, openid: &str, said: Person) -> Person {
        let key = (app, openid.to_owned());
        let news = said.unionid.is_some() || said.profile.is_some();
        let known = self.0.get_mut(&key).cloned().unwrap_or_default();
        let person = Person {
            unionid: said.unionid.or(known.unionid),
            profile: said.profile.or(known.profile),
        };
        if news {
            self.0.insert(key, person.clone());
        }
        person
    }
}

impl Person {
    /// The profile, without a watermark: what was said, and the rest made up from the openid, so
    /// that nothing of it needs to be kept.
    pub(super) fn profile(&self, openid: &str) -> Members<'_> {
        let digest = Sha1::digest(openid);
        let (city, province) = PLACES[usize::from(digest[0] % 8)];
        let nickname = NICKNAMES[usize::from(digest[1] % 8)];
        let gender = 1 + digest[2] % 2;
        let avatar = format!(
            "https://thirdwx.qlogo.cn/mmopen/vi_32/{:x}/132",
            Bytes::copy_from_slice(&digest)
        );
        let mut profile = Members::from_iter([
            ("openId".into(), quoted(openid).into()),
            ("nickName".into(), quoted(nickname).into()),
            ("gender".into(), gender.to_string().into()),
            ("language".into(), quoted("zh_CN").into()),
            ("city".into(), quoted(city).into()),
            ("province".into(), quoted(province).into()),
            ("country".into(), quoted("China").into()),
            ("avatarUrl".into(), quoted(&avatar).into()),
        ]);
        profile.extend(self.profile.iter().flat_map(Object::members));
        if let Some(unionid) = &self.unionid {
            profile.entry("unionId".into()).or_insert_with(|| quoted(unionid).into());
        }
        profile
    }
}

#[cfg(test)]
mod tests {
    use super::super::object::write;
    use super::*;

    fn person(unionid: &str, profile: &str) -> Person {
        let profile = serde_json::from_str(profile).unwrap();
        Person { unionid: Some(unionid.into()), profile: Some(profile) }
    }

    #[test]
    fn people_stay_who_they_are() {
        let nothing = Person::default;
        let mut people = People::default();
        people.meet(0, "o1", Person { profile: None, ..person("u1", "{}") });
        people.meet(0, "o1", Person { unionid: None, ..person("u1", "{}") });
        let known = people.meet(0, "o1", nothing());
        assert_eq!((known.unionid.as_deref(), known.profile.is_some()), (Some("u1"), true));
        people.meet(0, "o1", person("u2", "{}"));
        assert_eq!(people.meet(0, "o1", nothing()).unionid.as_deref(), Some("u2"));
        assert_eq!(people.meet(1, "o1", nothing()).unionid, None);
    }

    #[test]
    fn what_was_said_wins_over_what_is_made_up() {
        let said = r#"{ "gender":0, "nickName" :"\u0041\n", "big":1e999 }"#;
        let profile = write(&person("u1", said).profile("o1"));
        insta::assert_snapshot!(profile, @r#"{"openId":"o1","nickName":"\u0041\n","gender":0,"language":"zh_CN","city":"Nanjing","province":"Jiangsu","country":"China","avatarUrl":"https://thirdwx.qlogo.cn/mmopen/vi_32/a473a8c1ab29e55e40e14f2c8d0fe078ad9920ad/132","big":1e999,"unionId":"u1"}"#);
        let liar = person("u1", r#"{"unionId":"u2","openId":"o2"}"#);
        let lies = liar.profile("o1");
        assert_eq!((&*lies["openId"], &*lies["unionId"]), (r#""o2""#, r#""u2""#));
    }
}
