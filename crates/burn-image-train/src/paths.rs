//! Where in a network a visit is.

/// The way to a module from the network's top.
#[derive(Default)]
pub(crate) struct Place(Vec<Option<String>>);

impl Place {
    /// Goes into a module. The variant of an enum is no step: names stay the same whichever it is.
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        let is_variant = container.starts_with("Enum:");
        self.0.push((!is_variant).then(|| name.to_string()));
    }

    /// Goes back out of it.
    pub(crate) fn exit(&mut self) {
        self.0.pop();
    }

    /// The name of the place, such as `layer1.0.conv1.weight`.
    pub(crate) fn path(&self) -> String {
        let names: Vec<_> = self.0.iter().flatten().map(String::as_str).collect();
        names.join(".")
    }

    /// Whether it is the mean or the variance that a norm has seen in training.
    pub(crate) fn is_statistic(&self) -> bool {
        let name = self.0.last().and_then(Option::as_deref);
        matches!(name, Some("running_mean" | "running_var"))
    }
}

/// Whether `path` is the part of a network at `part`, or lies in it.
pub(crate) fn lies_in(path: &str, part: &str) -> bool {
    let rest = path.strip_prefix(part);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
