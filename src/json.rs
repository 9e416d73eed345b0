//! A strict reader of JSON text that says where things are instead of building a tree.
//!
//! The wire contract asks for four things that no JSON crate offers at once: the last of two
//! equal keys wins, numbers of any size are valid, a lone surrogate is an error even in a field
//! that nobody reads, and nesting is bounded but deep. And a profile must leave as it came, byte
//! for byte, so it is kept as text. The reader makes one pass and borrows from its input.

use std::borrow::Cow;

/// How deep arrays and objects may nest. The contract lets 100 levels pass and refuses 600.
const MAX_DEPTH: u32 = 256;

/// How many bytes at the front of a string mean nothing but themselves: there is no quote, no
/// backslash and no control character among them. Eight are looked at at once, because every
/// request is mostly strings.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // The high bit of the lowest byte below `limit` (and of some bytes above that one).
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGH;
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let special = quote | backslash | below(word, 0x20);
        if special != 0 {
            return at * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let plain = rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count();
    words.len() * 8 + plain
}

/// The text is not JSON.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not valid JSON at byte {at}")]
pub struct NotJson {
    /// Where reading stopped, in bytes from the start.
    pub at: usize,
}

/// A JSON value: its kind and the text it was written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    text: &'a str,
    /// Whether it is a string with escapes to resolve.
    escaped: bool,
}

impl<'a> Value<'a> {
    /// Reads a whole document.
    ///
    /// # Errors
    ///
    /// [`NotJson`] when the bytes are not exactly one JSON value in UTF-8.
    pub fn parse(document: &'a [u8]) -> Result<Self, NotJson> {
        Self::parse_members(document, |reader, _| reader.value().map(drop))
    }

    /// Reads a whole document; when it is an object, `member` gets the name of each member and
    /// reads its value, so that one pass does for several levels.
    ///
    /// # Errors
    ///
    /// [`NotJson`] when the bytes are not exactly one JSON value in UTF-8.
    pub fn parse_members(
        document: &'a [u8],
        member: impl FnMut(&mut Reader<'a>, &str) -> Result<(), NotJson>,
    ) -> Result<Self, NotJson> {
        let text = std::str::from_utf8(document).map_err(|e| NotJson { at: e.valid_up_to() })?;
        let mut reader = Reader { text, at: 0, depth: 0 };
        let value = reader.members(member)?;
        reader.space();
        if reader.at < text.len() {
            return Err(reader.error());
        }
        Ok(value)
    }

    /// The value as it was written.
    #[must_use]
    pub fn text(self) -> &'a str {
        self.text
    }

    /// Tells whether the value is `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.text == "null"
    }

    /// Tells whether the value is an object.
    #[must_use]
    pub fn is_object(self) -> bool {
        self.text.starts_with('{')
    }

    /// The content of a string, with its escapes resolved.
    #[must_use]
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        let inner = self.text.strip_prefix('"')?.strip_suffix('"')?;
        Some(if self.escaped { unescape(inner) } else { inner.into() })
    }

    /// The text of a scalar: a string's content, a number or boolean as it was written; `None`
    /// for `null`, a list and an object.
    #[must_use]
    pub fn as_scalar(self) -> Option<Cow<'a, str>> {
        match self.text.as_bytes()[0] {
            b'"' => self.as_str(),
            b'n' | b'[' | b'{' => None,
            _ => Some(Cow::Borrowed(self.text)),
        }
    }

    /// The member of an object with this name; the last one, when there are several.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Value<'a>> {
        let mut found = None;
        let mut reader = Reader { text: self.text, at: 0, depth: 0 };
        let read = reader.members(|reader, key| {
            let value = reader.value()?;
            if key == name {
                found = Some(value);
            }
            Ok(())
        });
        read.ok().and(found)
    }
}

/// Reads one value after the other.
#[derive(Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

impl<'a> Reader<'a> {
    fn error(&self) -> NotJson {
        NotJson { at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Reads a value.
    ///
    /// # Errors
    ///
    /// [`NotJson`] when there is none.
    pub fn value(&mut self) -> Result<Value<'a>, NotJson> {
        self.members(|reader, _| reader.value().map(drop))
    }

    /// Reads a value; when it is an object, `member` gets the name of each member and reads its
    /// value.
    ///
    /// # Errors
    ///
    /// [`NotJson`] when there is none, or what `member` returns.
    pub fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), NotJson>,
    ) -> Result<Value<'a>, NotJson> {
        self.space();
        let start = self.at;
        let mut escaped = false;
        match self.peek() {
            Some(b'"') => escaped = self.string()?.1,
            Some(b'{') => self.nested(b'}', |reader| {
                let key = reader.key()?;
                member(reader, &key)
            })?,
            Some(b'[') => self.nested(b']', |reader| reader.value().map(drop))?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            _ => return Err(self.error()),
        }
        Ok(Value { text: &self.text[start..self.at], escaped })
    }

    /// Reads the name of a member and the colon after it.
    fn key(&mut self) -> Result<Cow<'a, str>, NotJson> {
        self.space();
        let (key, escaped) = self.string()?;
        self.space();
        if !self.eat(b':') {
            return Err(self.error());
        }
        Ok(if escaped { unescape(key) } else { key.into() })
    }

    /// Reads the items of an array or object, from its opening bracket to its closing one.
    fn nested(
        &mut self,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), NotJson>,
    ) -> Result<(), NotJson> {
        if self.depth == MAX_DEPTH {
            return Err(self.error());
        }
        self.depth += 1;
        self.at += 1;
        self.space();
        if !self.eat(close) {
            loop {
                item(self)?;
                self.space();
                if self.eat(close) {
                    break;
                }
                if !self.eat(b',') {
                    return Err(self.error());
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), NotJson> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.error());
        }
        self.at += word.len();
        Ok(())
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.error()) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<(), NotJson> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Reads a string: what stands between its quotes, and whether there are escapes in it.
    fn string(&mut self) -> Result<(&'a str, bool), NotJson> {
        if !self.eat(b'"') {
            return Err(self.error());
        }
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_length(&self.text.as_bytes()[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok((&self.text[start..self.at - 1], escaped));
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(self.error()),
            }
        }
    }

    fn escape(&mut self) -> Result<(), NotJson> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => match self.unit()? {
                0xDC00..0xE000 => return Err(self.error()),
                0xD800..0xDC00 if !(self.eat(b'\\') && matches!(self.unit()?, 0xDC00..0xE000)) => {
                    return Err(self.error());
                }
                _ => {}
            },
            _ => return Err(self.error()),
        }
        Ok(())
    }

    /// Reads `uXXXX`, one UTF-16 code unit.
    fn unit(&mut self) -> Result<u16, NotJson> {
        let unit = hex4(self.text.as_bytes().get(self.at..self.at + 5)).ok_or(self.error())?;
        self.at += 5;
        Ok(unit)
    }
}

/// The code unit written as `uXXXX`.
fn hex4(text: Option<&[u8]>) -> Option<u16> {
    let (b'u', digits) = text?.split_first()? else { return None };
    digits.iter().try_fold(0, |unit, digit| {
        let nibble = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(nibble).ok()?)
    })
}

/// Resolves the escapes of a string that [`Reader::string`] accepted.
fn unescape(inner: &str) -> Cow<'_, str> {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes()[at + 1];
        rest = &rest[at + 2..];
        match escape {
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => rest = unescape_units(rest, &mut out),
            other => out.push(char::from(other)),
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Resolves `XXXX` or `XXXX\uXXXX` at the start of `rest` and returns what follows.
fn unescape_units<'a>(rest: &'a str, out: &mut String) -> &'a str {
    let unit = |digits: &str| u16::from_str_radix(digits, 16).unwrap_or_default();
    let first = unit(&rest[..4]);
    let (units, rest) = if (0xD800..0xDC00).contains(&first) {
        ([first, unit(&rest[6..10])], &rest[10..])
    } else {
        ([first, 0], &rest[4..])
    };
    out.extend(char::decode_utf16(units).next().and_then(Result::ok));
    rest
}

/// Appends `text` to `out` as a JSON string, quotes included.
pub fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at(plain_length(rest.as_bytes()));
        out.push_str(plain);
        let mut chars = special.chars();
        match chars.next() {
            None => break,
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some(control) => {
                out.push_str("\\u00");
                for nibble in [u32::from(control) >> 4, u32::from(control) & 15] {
                    out.extend(char::from_digit(nibble, 16));
                }
            }
        }
        rest = chars.as_str();
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn valid(text: &str) -> bool {
        Value::parse(text.as_bytes()).is_ok()
    }

    #[test]
    fn accepts_what_the_grammar_has() {
        for text in ["null", " [ ] ", "{\"a\":[1,-0,1e400,-1.5E-7,true,false,\"\\u0041\"]}"] {
            assert!(valid(text), "{text}");
        }
    }

    #[test]
    fn refuses_what_the_grammar_has_not() {
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "1e",
            "+1",
            "nul",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12é\"",
            "1 2",
            "\u{feff}{}",
            "'a'",
            "NaN",
            "{\"a\" 1}",
            "[1 2]",
            "]",
        ] {
            assert!(!valid(text), "{text}");
        }
    }

    #[test]
    fn refuses_lone_surrogates_and_keeps_pairs() {
        for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, r#"{"x":["\ud83dx"]}"#] {
            assert!(!valid(text), "{text}");
        }
        let pair = Value::parse(br#""a\ud83d\ude00\nb\u00e9""#).unwrap();
        assert_eq!(pair.as_str().unwrap(), "a😀\nbé");
    }

    #[test]
    fn nests_a_hundred_deep_but_not_six_hundred() {
        let nested = |n| "[".repeat(n) + &"]".repeat(n);
        assert!(valid(&nested(100)));
        assert!(!valid(&nested(600)));
    }

    #[test]
    fn the_last_of_equal_keys_wins() {
        let value = Value::parse(br#"{"a":1,"b":2,"\u0061":{"a":3}}"#).unwrap();
        assert_eq!(value.get("a").unwrap().text(), r#"{"a":3}"#);
        assert_eq!(value.get("c"), None);
    }

    #[test]
    fn scalars_have_a_text() {
        let value =
            Value::parse(br#"{"n":-1.50,"t":true,"s":"x","l":[],"o":{},"z":null}"#).unwrap();
        let scalar = |name| value.get(name).unwrap().as_scalar().map(Cow::into_owned);
        assert_eq!(scalar("n").as_deref(), Some("-1.50"));
        assert_eq!(scalar("t").as_deref(), Some("true"));
        assert_eq!(scalar("s").as_deref(), Some("x"));
        assert_eq!([scalar("l"), scalar("o"), scalar("z")], [None, None, None]);
    }

    fn document() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::vec((any::<String>(), inner), 0..5).prop_map(|members| {
                    serde_json::Value::Object(members.into_iter().collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_documents(document in document()) {
            let text = document.to_string();
            let value = Value::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(value.text(), &text);
            if let Some(object) = document.as_object() {
                for (key, member) in object {
                    prop_assert_eq!(value.get(key).unwrap().text(), member.to_string());
                }
            }
            if let Some(string) = document.as_str() {
                prop_assert_eq!(value.as_str().unwrap(), string);
                let mut written = String::new();
                push_string(&mut written, string);
                prop_assert_eq!(Value::parse(written.as_bytes()).unwrap().as_str().unwrap(), string);
            }
        }

        #[test]
        fn agrees_with_serde_json_on_near_json(text in r#"[\[\]{}",:0-9a-fnrtul\\ .eE+-]{0,12}"#) {
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            let out_of_range = matches!(&theirs, Err(e) if e.to_string().contains("out of range"));
            prop_assume!(!out_of_range);
            prop_assert_eq!(valid(&text), theirs.is_ok());
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Value::parse(&bytes).map(|value| value.get("a"));
        }
    }
}
