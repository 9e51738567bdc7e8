pub(crate) fn run(_: &crate::Options<'_>) -> bool { false }
pub(crate) fn case(_: &[&str]) -> bool { false }
pub(crate) fn killed(_: &str, _: usize) {}
