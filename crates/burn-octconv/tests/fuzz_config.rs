//! Thousands of texts, from legal configurations to nonsense: every one is read, refused by a
//! typed error, or runs.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::Value;
use support::{
    case::{Limits, cases},
    fuzz::{Outcome, check},
};

/// What values are replaced by, as JSON writes it or not: one group for each kind of field.
const VALUES: [&[&str]; 8] = [
    COUNTS,
    SHARES,
    PAIRS,
    PADDINGS,
    INITIALIZERS,
    CHOICES,
    SWITCHES,
    NONSENSE,
];
#[rustfmt::skip]
const COUNTS: &[&str] = &[
    "0", "1", "2", "3", "4", "6", "7", "8", "12", "31", "256", "1000", "65536", "1000003",
    "2147483648", "4294967295", "4294967296", "4294967297", "1152921504606846976",
    "9007199254740993", "9007199254740995", "4611686018427387904", "9223372036854775807",
    "9223372036854775808", "18446744073709551614", "18446744073709551615", "18446744073709551616",
];
#[rustfmt::skip]
const SHARES: &[&str] = &[
    "-1", "-0", "-9223372036854775808", "0.0", "-0.0", "0.5", "0.25", "0.3333333333333333", "1.0",
    "0.9999999999999999", "1.0000000000000002", "-1e-300", "5e-324", "1e18", "1e308", "-1e308",
    "1e999",
];
#[rustfmt::skip]
const PAIRS: &[&str] = &[
    "[]", "[1]", "[1, 1]", "[2, 2]", "[3, 3]", "[1, 2]", "[1, 1, 1]", "[[1, 1], [1, 1]]",
    "[0.5, 0.5]", "[4294967296, 4294967296]", "[18446744073709551615, 18446744073709551615]",
    "[9223372036854775807, 1]", "[9007199254740995, 4]",
];
#[rustfmt::skip]
const PADDINGS: &[&str] = &[
    "\"Same\"", "\"Valid\"", "{\"Explicit\": [0, 0, 0, 0]}", "{\"Explicit\": [1, 1, 1, 1]}",
    "{\"Explicit\": [9, 0, 0, 9]}", "{\"Explicit\": [1, 1]}",
    "{\"Explicit\": [18446744073709551615, 18446744073709551615, 18446744073709551615, 1]}",
    "{\"Explicit\": [9223372036854775807, 0, 9223372036854775807, 0]}",
];
#[rustfmt::skip]
const INITIALIZERS: &[&str] = &[
    "\"Zeros\"", "\"Ones\"", "{\"Constant\": {\"value\": 1e308}}",
    "{\"Uniform\": {\"min\": -1, \"max\": 1}}", "{\"Uniform\": {\"min\": 1, \"max\": -1}}",
    "{\"Uniform\": {\"min\": 0, \"max\": 0}}", "{\"Uniform\": {\"min\": -1e308, \"max\": 1e308}}",
    "{\"Uniform\": {\"min\": 0, \"max\": 1e39}}", "{\"Normal\": {\"mean\": 0, \"std\": 1}}",
    "{\"Normal\": {\"mean\": 0, \"std\": -1}}", "{\"Normal\": {\"mean\": 1e308, \"std\": 1e308}}",
    "{\"Normal\": {\"mean\": 0, \"std\": 0}}",
    "{\"KaimingUniform\": {\"gain\": 0, \"fan_out_only\": false}}",
    "{\"KaimingUniform\": {\"gain\": -1, \"fan_out_only\": true}}",
    "{\"KaimingUniform\": {\"gain\": 1e308, \"fan_out_only\": true}}",
    "{\"KaimingNormal\": {\"gain\": -1, \"fan_out_only\": false}}",
    "{\"KaimingNormal\": {\"gain\": 1, \"fan_out_only\": true}}",
    "{\"KaimingNormal\": {\"gain\": 1}}", "{\"XavierUniform\": {\"gain\": 1}}",
    "{\"XavierUniform\": {\"gain\": -2}}", "{\"XavierNormal\": {\"gain\": 1e308}}",
    "{\"XavierNormal\": {\"gain\": -1}}", "{\"Orthogonal\": {\"gain\": 1}}",
    "{\"Orthogonal\": {\"gain\": -1e308}}",
];
#[rustfmt::skip]
const CHOICES: &[&str] = &[
    "\"Max\"", "\"Average\"", "\"Strided\"", "\"Nearest\"", "\"Bilinear\"", "\"Both\"",
    "\"Neither\"", "\"HighToLow\"", "\"LowToHigh\"",
];
#[rustfmt::skip]
const SWITCHES: &[&str] = &[
    "true", "false",
];
#[rustfmt::skip]
const NONSENSE: &[&str] = &[
    "NaN", "nan", "Infinity", "-Infinity", "null", "\"\"", "\"1\"", "\"NaN\"", "{}",
];

/// The group whose values the field takes that `way` leads to.
fn fitting(way: &[Step], old: &Value) -> &'static [&'static str] {
    match (way, old) {
        ([Step::Key(key)], _) if key == "padding" => PADDINGS,
        ([Step::Key(key)], _) if key == "initializer" => INITIALIZERS,
        (_, Value::Array(_)) => PAIRS,
        (_, Value::String(_)) => CHOICES,
        (_, Value::Bool(_)) => SWITCHES,
        (_, Value::Number(number)) if number.is_u64() => COUNTS,
        (_, Value::Number(_)) => SHARES,
        _ => NONSENSE,
    }
}

/// A change of the tree that the text stands for.
#[derive(Debug, Clone)]
enum Graft {
    /// A value anywhere becomes another of its kind.
    Replace(Index, Index),
    /// A value anywhere becomes one of [`VALUES`].
    Confuse(Index, Index, Index),
    /// A key or an element vanishes.
    Remove(Index),
    /// A key or an element is there under another name, or twice.
    Copy(Index),
}

/// A change of the text.
#[derive(Debug, Clone)]
enum Scratch {
    Cut(Index),
    Overwrite(Index, u8),
    Insert(Index, Index),
}

fn grafts() -> impl Strategy<Value = Vec<Graft>> {
    let graft = prop_oneof![
        12 => any::<(Index, Index)>().prop_map(|(place, value)| Graft::Replace(place, value)),
        1 => any::<(Index, Index, Index)>().prop_map(|(place, group, value)| Graft::Confuse(place, group, value)),
        1 => any::<Index>().prop_map(Graft::Remove),
        1 => any::<Index>().prop_map(Graft::Copy),
    ];
    proptest::collection::vec(graft, 0..4)
}

fn scratches() -> impl Strategy<Value = Vec<Scratch>> {
    let scratch = prop_oneof![
        1 => any::<Index>().prop_map(Scratch::Cut),
        4 => (any::<Index>(), 32u8..127).prop_map(|(place, byte)| Scratch::Overwrite(place, byte)),
        2 => any::<(Index, Index)>().prop_map(|(place, value)| Scratch::Insert(place, value)),
    ];
    prop_oneof![
        9 => Just(Vec::new()),
        1 => proptest::collection::vec(scratch, 1..3),
    ]
}

/// A place in a tree, as the keys and positions that lead to it.
type Way = Vec<Step>;

#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Position(usize),
}

fn ways(value: &Value, way: &mut Way, found: &mut Vec<Way>) {
    let children: Vec<(Step, &Value)> = match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, child)| (Step::Key(key.clone()), child))
            .collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(position, child)| (Step::Position(position), child))
            .collect(),
        _ => return,
    };
    for (step, child) in children {
        way.push(step);
        found.push(way.clone());
        ways(child, way, found);
        way.pop();
    }
}

fn follow<'a>(value: &'a mut Value, way: &[Step]) -> &'a mut Value {
    way.iter().fold(value, |value, step| match step {
        Step::Key(key) => &mut value[key],
        Step::Position(position) => &mut value[position],
    })
}

/// Stands for a value in a tree, which cannot hold what is no JSON.
fn placeholder(value: &str) -> Value {
    Value::String(format!("value {value}"))
}

/// The text of a legal configuration with these changes.
fn mutate(json: &str, grafts: &[Graft], scratches: &[Scratch]) -> String {
    let mut tree: Value = serde_json::from_str(json).expect("a configuration is JSON");
    for graft in grafts {
        let mut found = Vec::new();
        ways(&tree, &mut Vec::new(), &mut found);
        let (Graft::Replace(place, _)
        | Graft::Confuse(place, ..)
        | Graft::Remove(place)
        | Graft::Copy(place)) = graft;
        if found.is_empty() {
            break;
        }
        let way = place.get(&found);
        let (last, parent) = way.split_last().expect("a way has a step");
        let parent = follow(&mut tree, parent);
        match (graft, parent, last) {
            (Graft::Replace(_, value), parent, last) => {
                let old = follow(parent, std::slice::from_ref(last));
                let group = fitting(way, old);
                *old = placeholder(group[value.index(group.len())]);
            }
            (Graft::Confuse(_, group, value), parent, last) => {
                let group = VALUES[group.index(VALUES.len())];
                let value = placeholder(group[value.index(group.len())]);
                *follow(parent, std::slice::from_ref(last)) = value;
            }
            (Graft::Remove(_), Value::Object(map), Step::Key(key)) => {
                map.remove(key);
            }
            (Graft::Remove(_), Value::Array(list), Step::Position(position)) => {
                list.remove(*position);
            }
            (Graft::Copy(_), Value::Object(map), Step::Key(key)) => {
                map.insert(format!("{key}_"), map[key].clone());
            }
            (Graft::Copy(_), Value::Array(list), Step::Position(position)) => {
                list.push(list[*position].clone());
            }
            _ => unreachable!("objects have keys, arrays positions"),
        }
    }
    let mut text = tree.to_string();
    for value in VALUES.into_iter().flatten() {
        text = text.replace(&placeholder(value).to_string(), value);
    }
    for scratch in scratches {
        match scratch {
            Scratch::Cut(place) => text.truncate(place.index(text.len() + 1)),
            Scratch::Overwrite(place, byte) if !text.is_empty() => {
                let place = place.index(text.len());
                text.replace_range(place..=place, &char::from(*byte).to_string());
            }
            Scratch::Overwrite(..) => {}
            Scratch::Insert(place, value) => {
                text.insert_str(
                    place.index(text.len() + 1),
                    NONSENSE[value.index(NONSENSE.len())],
                );
            }
        }
    }
    text
}

#[test]
fn every_text_is_read_refused_or_runs() {
    let config = Config {
        cases: 30_000,
        failure_persistence: None,
        ..Config::default()
    };
    // A fixed seed: a failure is reproduced by running the test again.
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[19; 32]);
    let limits = Limits {
        size: 6,
        channels: 4,
        tolerance: f64::NAN,
    };
    let strategy = (cases(limits), grafts(), scratches());
    let count = std::cell::RefCell::new([0usize; 5]);
    let result =
        TestRunner::new_with_rng(config, rng).run(&strategy, |(case, grafts, scratches)| {
            let json = burn::config::config_to_json(&case.config);
            let text = mutate(&json, &grafts, &scratches);
            let outcome = catch_unwind(AssertUnwindSafe(|| check(&text)))
                .map_err(|_| TestCaseError::fail(format!("a panic on {text}")))?;
            count.borrow_mut()[outcome as usize] += 1;
            Ok(())
        });
    result.unwrap_or_else(|e| panic!("{e}"));
    let count = count.into_inner();
    let of = |outcome: Outcome| count[outcome as usize];
    println!(
        "{} texts: {} malformed, {} refused, {} too large to run, {} misfits, {} ran",
        count.iter().sum::<usize>(),
        of(Outcome::Malformed),
        of(Outcome::Refused),
        of(Outcome::Large),
        of(Outcome::Misfit),
        of(Outcome::Ran)
    );
    assert!(
        count.iter().all(|&n| n > 0),
        "a way is never taken: {count:?}"
    );
}
