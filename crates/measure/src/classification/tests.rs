use super::*;

fn classes(count: usize) -> Vec<String> {
    (0..count).map(|class| format!("c{class}")).collect()
}

/// Returns scores that are highest for the first class of `order`, then for the second and so on.
fn scores(order: &[usize], classes: usize) -> Vec<f32> {
    let mut scores = vec![0.0; classes];
    for (rank, class) in order.iter().enumerate() {
        scores[*class] = 1.0 / (rank + 1) as f32;
    }
    scores
}

#[test]
fn metrics_match_the_confusion_matrix() {
    let mut evaluation = ClassificationEvaluation::new(classes(3));
    for (truth, predicted) in [(0, 0), (0, 1), (1, 1), (2, 2), (2, 0), (2, 2), (2, 1), (0, 0), (0, 2), (1, 1)]
    {
        evaluation.add(truth, &scores(&[predicted], 3));
    }
    let summary = evaluation.summary();
    assert_eq!(summary.confusion.rows(), [[2, 1, 1], [0, 2, 0], [1, 1, 2]]);
    assert_eq!((summary.pictures, summary.top1, summary.top5), (10, Some(0.6), None));
    let [a, b, c] = &summary.classes[..] else { panic!() };
    assert_eq!([a, b, c].map(|class| class.support()), [4, 2, 4]);
    assert_eq!([a, b, c].map(|class| class.recall()), [Some(0.5), Some(1.0), Some(0.5)]);
    assert_eq!([a, b, c].map(|class| class.precision()), [Some(2.0 / 3.0), Some(0.5), Some(2.0 / 3.0)]);
    assert_eq!([a, b, c].map(|class| class.f1()), [Some(4.0 / 7.0), Some(2.0 / 3.0), Some(4.0 / 7.0)]);
    assert!((summary.balanced.unwrap() - 2.0 / 3.0).abs() < 1e-12);
}

#[test]
fn top5_uses_the_five_highest_scores() {
    let mut evaluation = ClassificationEvaluation::new(classes(7));
    let order = [6, 0, 1, 2, 3, 4, 5];
    for truth in 0..7 {
        evaluation.add(truth, &scores(&order, 7));
    }
    let summary = evaluation.summary();
    assert_eq!((summary.top1, summary.top5), (Some(1.0 / 7.0), Some(5.0 / 7.0)));
    // For equal scores, the class with the lower id ranks first.
    let mut evaluation = ClassificationEvaluation::new(classes(7));
    (0..7).for_each(|truth| evaluation.add(truth, &[0.0; 7]));
    assert_eq!(evaluation.summary().top5, Some(5.0 / 7.0));
    assert_eq!(evaluation.summary().classes[0].right, 1);
}

#[test]
fn classes_without_images_are_excluded() {
    let mut evaluation = ClassificationEvaluation::new(classes(3));
    assert_eq!(evaluation.summary().numbers().map(|(_, number)| number), [None; 4]);
    evaluation.add(1, &scores(&[1], 3));
    evaluation.add(9, &scores(&[1], 3));
    let summary = evaluation.summary();
    assert_eq!(
        (summary.pictures, summary.top1, summary.balanced, summary.f1),
        (1, Some(1.0), Some(1.0), Some(1.0))
    );
}

#[test]
fn confusion_matrix_is_aligned() {
    let names = ["cat", "a dog", "eel"].map(str::to_owned).to_vec();
    let mut evaluation = ClassificationEvaluation::new(names);
    for (truth, predicted, times) in [(0, 0, 12), (1, 1, 3), (1, 0, 1)] {
        (0..times).for_each(|_| evaluation.add(truth, &scores(&[predicted], 3)));
    }
    let text = evaluation.summary().to_string();
    let expected = "\
16 images, top1 0.9375, balanced 0.8750, F1 0.9086

class precision    recall        F1   support
cat        92.3     100.0      96.0        12
a dog     100.0      75.0      85.7         4
eel           -         -         -         0

  true \\ predicted  0  1  2
0 cat              12  .  .
1 a dog             1  3  .
2 eel               .  .  .
";
    assert_eq!(text, expected);
}
