use super::support::{Place, name};

#[test]
fn the_most_probable_classes_come_first() {
    let place = Place::new();
    let (first, second) = (place.scene("first.png", 0), place.scene("second.png", 1));
    let objects = place.run(&["predict", name(&first), name(&second), "--json", "--top", "3"]).objects();
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0]["image"], name(&first));
    for object in &objects {
        let top = object["top"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        let probabilities: Vec<f64> = top.iter().map(|class| class["probability"].as_f64().unwrap()).collect();
        assert!(probabilities.is_sorted_by(|a, b| a >= b) && probabilities[0] <= 1.0, "{probabilities:?}");
        assert!(top.iter().all(|class| class["label"].is_string() && class["logit"].is_number()));
    }
    let all = &place.run(&["predict", name(&first), "--json", "--top", "1000"]).objects()[0];
    let sum: f64 = all["top"].as_array().unwrap().iter().map(|class| class["probability"].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-6);

    let table = place.run(&["predict", name(&first), "--top", "2"]).stdout();
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.contains(all["top"][0]["label"].as_str().unwrap()), "{table}");
    assert!(!table.contains('\u{1b}'));
}

#[test]
fn the_built_in_model_knows_its_scenes() {
    use faithful_core::Stream;
    use faithful_data::{SCENE_CLASSES, SceneSpec, draw_scene_of, write_picture};
    let place = Place::new();
    let mut arguments = vec!["predict".to_owned(), "--json".into(), "--top".into(), "1".into()];
    for class in 0..SCENE_CLASSES.len() {
        let scene = draw_scene_of(&SceneSpec::default(), &[class], &mut Stream::new(3, "known").draw(class)).unwrap();
        let path = place.path(&format!("{class:02}.png"));
        write_picture(&path, &scene.picture).unwrap();
        arguments.push(name(&path).to_owned());
    }
    let objects = place.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).objects();
    let right = objects.iter().enumerate().filter(|(class, object)| object["top"][0]["class"] == *class).count();
    assert!(right * 4 >= SCENE_CLASSES.len() * 3, "{right} of {}: {objects:?}", SCENE_CLASSES.len());
}

#[test]
fn a_file_of_labels_renames_the_outputs() {
    let place = Place::new();
    let photo = place.scene("scene.png", 4);
    let count =
        place.run(&["predict", name(&photo), "--json", "--top", "999"]).objects()[0]["top"].as_array().unwrap().len();
    let names: Vec<String> = (0..count).map(|index| format!("thing {index}")).collect();
    let labels = place.file("labels.txt", names.join("\n").as_bytes());
    let object = &place.run(&["predict", name(&photo), "--json", "--labels", name(&labels)]).objects()[0];
    let class = &object["top"][0];
    assert_eq!(class["label"], format!("thing {}", class["class"]));
    let few = place.file("few.txt", b"one\ntwo\n");
    place.run(&["predict", name(&photo), "--labels", name(&few)]).refused(2, &["labels: 2 are given"]);
}
