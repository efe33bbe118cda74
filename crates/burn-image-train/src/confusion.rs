/// How many images of each class were taken for which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// By true class, then by predicted class.
    counts: Vec<u32>,
}

impl Confusion {
    /// Nothing counted yet between `classes` classes.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            counts: vec![0; classes * classes],
        }
    }

    /// Counts an image.
    ///
    /// # Panics
    ///
    /// If there is no such class.
    pub fn add(&mut self, truth: usize, predicted: usize) {
        assert!(truth < self.classes && predicted < self.classes);
        self.counts[truth * self.classes + predicted] += 1;
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Images of a class, by predicted class.
    fn row(&self, truth: usize) -> &[u32] {
        &self.counts[truth * self.classes..][..self.classes]
    }

    /// Images of the class `truth` that were taken for `predicted`.
    pub fn count(&self, truth: usize, predicted: usize) -> usize {
        self.row(truth)[predicted] as usize
    }

    /// Images of a class.
    pub fn images(&self, truth: usize) -> usize {
        self.row(truth).iter().map(|&count| count as usize).sum()
    }

    /// Share of the images of the class `truth` that were taken for `predicted`; none if there
    /// are no images of the class.
    pub fn share(&self, truth: usize, predicted: usize) -> Option<f64> {
        let images = self.images(truth);
        (images > 0).then(|| self.count(truth, predicted) as f64 / images as f64)
    }

    /// The other class that images of the class `truth` were most often taken for, and how many
    /// were; the first of equals. None if all were recognised.
    pub fn worst(&self, truth: usize) -> Option<(usize, usize)> {
        let others = self.row(truth).iter().enumerate();
        let others = others.filter(|&(class, &count)| class != truth && count > 0);
        others
            .rev()
            .max_by_key(|&(_, count)| count)
            .map(|(class, &count)| (class, count as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_true_classes() {
        let mut confusion = Confusion::new(3);
        for (truth, predicted) in [(0, 0), (0, 1), (0, 2), (0, 2), (2, 2)] {
            confusion.add(truth, predicted);
        }
        assert_eq!(confusion.images(0), 4);
        assert_eq!(confusion.share(0, 2), Some(0.5));
        assert_eq!(confusion.share(1, 2), None);
        assert_eq!(confusion.worst(0), Some((2, 2)));
        assert_eq!(confusion.worst(2), None);
        confusion.add(0, 1);
        assert_eq!(confusion.worst(0), Some((1, 2)));
    }
}
