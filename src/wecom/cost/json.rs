//! Takes a few fields out of a JSON object, in one pass; the rest is skipped without being built.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Unreadable;

/// A longer list is not kept.
pub(super) const LIST_MAX: usize = 10_000;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The value of a field; `Null` also where there is no such field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Value {
    #[default]
    Null,
    Flag(bool),
    Number(i64),
    Text(String),
    List(Vec<Value>),
    /// An object, a fraction, a list within a list, a list of more than [`LIST_MAX`].
    Other,
}

/// The fields of these names. Letter case is overlooked: whether WeCom does so is not documented, and a field that
/// slipped through would not be counted.
pub(super) fn fields<const N: usize>(body: &[u8], names: [&str; N]) -> Result<[Value; N], Unreadable> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    match strict(body, names) {
        // Shell scripts paste texts of several lines between the quotes. WeCom warns of the format and goes on.
        Err(Unreadable::NotJson) if body.iter().copied().any(breaks_lines) => {
            strict(&without_breaks(body), names)
        }
        read => read,
    }
}

/// An answer that has to have this shape, all of it.
pub(super) fn whole<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)).ok()
}

fn breaks_lines(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | b'\t')
}

/// A space means the same outside of strings, and inside them only texts have line breaks.
fn without_breaks(body: &[u8]) -> Vec<u8> {
    body.iter().map(|byte| if breaks_lines(*byte) { b' ' } else { *byte }).collect()
}

fn strict<const N: usize>(body: &[u8], names: [&str; N]) -> Result<[Value; N], Unreadable> {
    let mut found = Found { names, values: std::array::from_fn(|_| None), repeated: false };
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = json.deserialize_map(Object(&mut found)).and_then(|()| json.end());
    match read {
        Err(_) => Err(Unreadable::NotJson),
        Ok(()) if found.repeated => Err(Unreadable::Repeated),
        Ok(()) => Ok(found.values.map(Option::unwrap_or_default)),
    }
}

struct Found<'n, const N: usize> {
    names: [&'n str; N],
    values: [Option<Value>; N],
    repeated: bool,
}

struct Object<'f, 'n, const N: usize>(&'f mut Found<'n, N>);

impl<'de, const N: usize> Visitor<'de> for Object<'_, '_, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name(&self.0.names))? {
            let Some(at) = name else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value_seed(Reader { lists: true })?;
            self.0.repeated |= self.0.values[at].replace(value).is_some();
        }
        Ok(())
    }
}

/// Which of the names a key is, without keeping the key.
struct Name<'a>(&'a [&'a str]);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|name| key.eq_ignore_ascii_case(name)))
    }
}

struct Reader {
    /// Whether a list is kept.
    lists: bool,
}

impl<'de> DeserializeSeed<'de> for Reader {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Flag(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Other, Value::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while self.lists && list.len() < LIST_MAX {
            match seq.next_element_seed(Reader { lists: false })? {
                Some(value) => list.push(value),
                None => return Ok(Value::List(list)),
            }
        }
        let mut more = false;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            more = true;
        }
        Ok(if self.lists && !more { Value::List(list) } else { Value::Other })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Reader { lists: true }.deserialize(deserializer)
    }
}

impl Value {
    /// The number of a department, a tag or an app, which some write as text.
    pub(super) fn id(&self) -> Option<u64> {
        match self {
            Value::Number(number) => u64::try_from(*number).ok(),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}
