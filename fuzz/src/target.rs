/// A reader of outside input.
#[derive(Debug)]
pub struct Target {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Gives it an input, and says whether that was accepted.
    pub(crate) run: fn(&[u8]) -> bool,
    /// Inputs that mutations start from; one of them at least is accepted.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// The file under `dictionaries/` of what inputs are made of, beside the seeds.
    pub(crate) dictionary: &'static str,
    /// The most memory that an input may take, in bytes.
    pub memory: usize,
}

impl Target {
    /// Gives the target an input, and says whether that was accepted.
    ///
    /// # Panics
    ///
    /// If the input is a finding.
    pub fn try_on(&self, input: &[u8]) -> bool {
        (self.run)(input)
    }

    /// What inputs are made of, beside the seeds.
    pub fn words(&self) -> Vec<Vec<u8>> {
        crate::dictionary::words(self.dictionary)
    }
}

/// Checks that an error is a line that can be put on a terminal, and does not repeat a file.
pub(crate) fn check_message(error: &impl std::fmt::Display) {
    let message = error.to_string();
    let control = message.find(char::is_control);
    assert!(
        control.is_none(),
        "a control character at {control:?}: {message:?}"
    );
    let length = message.len();
    assert!(length < 4096, "an error of {length} bytes");
}
