//! Paths and queries of calls to WeChat's API.

use mina_auth::http::wechat_api::path::{Call, Place, RelayPath, Target, query_for_wechat};

pub fn seeds() -> Vec<Vec<u8>> {
    [
        "wx1/api/cgi-bin/token?grant_type=client_credential&appid=x&secret=y",
        "wx1/key/a%2Fb/api/wxa/msg_sec_check?access_token=x&a=1&key=y",
        "wx1/api/wxa/../sns/jscode2session?js_code=1",
        "wx1/api/wxa/%2e%2e/sns%2Fx?access%5Ftoken=x",
        "wx1/api/http://example.com/x",
        "wx1/api/%73ns//x;y?&&=",
        "wx1/users/o1/session-key/check",
        "wx1/token",
    ]
    .map(|seed| seed.as_bytes().to_vec())
    .into()
}

pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (rest, query) = text.split_once('?').unwrap_or((text, ""));
    if let Call::Api(raw) = Target::read(rest).call
        && let Ok(path) = RelayPath::parse(raw)
    {
        check_path(&path);
    }
    // No other comes out of a request line.
    if !query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return;
    }
    let sent = query_for_wechat(query);
    let mut url: reqwest::Url = "http://wechat/x".parse().expect("it is a URL");
    url.set_query(Some(&sent));
    for (name, _) in url.query_pairs() {
        let name = name.to_ascii_lowercase();
        assert!(name != "access_token" && name != "key", "`{name}` goes to WeChat: {sent}");
    }
}

/// What WeChat gets is what was looked at, whoever reads it.
fn check_path(path: &RelayPath) {
    let text = path.with_slash();
    let mut url: reqwest::Url = "http://wechat/".parse().expect("it is a URL");
    url.set_path(&text);
    assert_eq!((url.host_str(), url.path()), (Some("wechat"), &*text));
    let resolved = url.join(&text).expect("it is a path");
    assert_eq!((resolved.host_str(), resolved.path()), (Some("wechat"), &*text));
    assert_eq!(RelayPath::parse(&text[1..]).as_ref(), Ok(path), "it is decoded once");
    let lower = text.to_ascii_lowercase();
    let is_kept = lower == "/sns" || lower.starts_with("/sns/");
    let is_token = lower == "/cgi-bin/token" || lower == "/cgi-bin/stable_token";
    let place = match (is_kept, is_token) {
        (true, _) => Place::Kept,
        (_, true) => Place::Token,
        _ => Place::WeChats,
    };
    assert_eq!(path.place(), place, "{text}");
}
