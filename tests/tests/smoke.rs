use faithful_tests::root;

#[test]
fn fixtures_are_where_tests_look_for_them() {
    assert!(root().join("fixtures").is_dir());
}
