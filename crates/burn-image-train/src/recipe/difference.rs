use serde::Serialize;
use serde_json::Value;

/// The first value that differs: its name and both values.
pub(super) fn difference<T: Serialize>(one: &T, other: &T) -> Option<(String, String, String)> {
    let one = serde_json::to_value(one).ok()?;
    let other = serde_json::to_value(other).ok()?;
    differing(&one, &other, String::new())
}

fn differing(one: &Value, other: &Value, place: String) -> Option<(String, String, String)> {
    if one == other {
        return None;
    }
    if let (Value::Object(one), Value::Object(other)) = (one, other) {
        for name in one.keys().chain(other.keys()) {
            let place = match place.as_str() {
                "" => name.clone(),
                place => format!("{place}.{name}"),
            };
            let [one, other] = [one, other].map(|map| map.get(name).unwrap_or(&Value::Null));
            if let Some(found) = differing(one, other, place) {
                return Some(found);
            }
        }
    }
    Some((place, one.to_string(), other.to_string()))
}
