//! What the README shows is what is compiled.

#[test]
fn the_readme_shows_the_example_that_is_built() {
    let example = include_str!("../examples/embed.rs");
    let (_, code) = example.split_once("\n\n").expect("a heading");
    assert!(include_str!("../../../README.md").contains(code));
}
