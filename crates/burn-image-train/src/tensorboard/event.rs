//! The messages of TensorBoard's files, as far as they are written here (`event.proto` and
//! `summary.proto` of TensorFlow).

use prost::{Message, Oneof};

/// What there is to tell of a step.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    #[prost(int64, tag = "2")]
    pub step: i64,
    #[prost(oneof = "What", tags = "3, 5")]
    pub what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum What {
    /// First in every file.
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(string, tag = "1")]
    pub tag: String,
    #[prost(oneof = "Data", tags = "2, 4")]
    pub data: Option<Data>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Data {
    #[prost(float, tag = "2")]
    Number(f32),
    #[prost(message, tag = "4")]
    Image(Image),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Image {
    #[prost(int32, tag = "1")]
    pub height: i32,
    #[prost(int32, tag = "2")]
    pub width: i32,
    /// 3 is RGB.
    #[prost(int32, tag = "3")]
    pub colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    pub png: Vec<u8>,
}

impl Value {
    pub fn number(tag: &str, number: f64) -> Self {
        Self {
            tag: tag.into(),
            data: Some(Data::Number(number as f32)),
        }
    }

    /// A PNG file of `[width, height]` pixels.
    pub fn image(tag: &str, [width, height]: [u32; 2], png: Vec<u8>) -> Self {
        let image = Image {
            height: height as i32,
            width: width as i32,
            colorspace: 3,
            png,
        };
        Self {
            tag: tag.into(),
            data: Some(Data::Image(image)),
        }
    }
}

impl Event {
    /// The number of this name, if the event has it.
    pub fn number(&self, tag: &str) -> Option<f32> {
        let Some(What::Summary(summary)) = &self.what else {
            return None;
        };
        let value = summary.values.iter().find(|value| value.tag == tag)?;
        match value.data {
            Some(Data::Number(number)) => Some(number),
            _ => None,
        }
    }
}
