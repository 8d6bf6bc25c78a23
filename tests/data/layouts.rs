//! How people lay out folders of images, case by case: what is read of each, and what is told.

use crate::files::open;
use crate::folders::{counts, lay};
use candlewick::data::{ImageOptions, Source, survey};
use tempfile::tempdir;

struct Case {
    what: &'static str,
    files: &'static [(&'static str, usize)],
    classes: &'static [(&'static str, usize, usize)],
    valid: Option<usize>,
    /// What the lines told must hold.
    told: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        what: "litter of systems and notebooks",
        files: &[
            ("cat/*.jpg", 5),
            ("dog/*.jpg", 5),
            ("cat/.DS_Store", 1),
            ("cat/Thumbs.db", 1),
            ("dog/desktop.ini", 1),
            ("__MACOSX/cat/._0.jpg", 1),
            ("cat/._1.jpg", 1),
            (".ipynb_checkpoints/cat-checkpoint.jpg", 1),
            ("@eaDir/cat/0.jpg", 1),
        ],
        classes: &[("cat", 4, 1), ("dog", 4, 1)],
        valid: None,
        told: &["2 classes, 8 training and 2 test images held out", "left alone: 7"],
    },
    Case {
        what: "endings of every kind, and none",
        files: &[
            ("red/*.JPG", 5),
            ("red/webp*.jpg", 5),
            ("blue/*.jfif", 4),
            ("blue/*.jpe", 4),
            ("blue/scan*", 2),
            ("blue/*.heic", 3),
            ("red/*.avif", 2),
            ("red/notes.txt", 1),
        ],
        classes: &[("blue", 0, 0), ("red", 0, 0)],
        valid: None,
        told: &["3 .heic", "2 .avif", "1 .txt", "5 pictures (.avif, .heic) are not read: convert"],
    },
    Case {
        what: "folders inside a class",
        files: &[("cat/top*.png", 2), ("cat/more/*.png", 20), ("dog/top*.png", 2), ("dog/more/even/*.png", 20)],
        classes: &[("cat", 0, 22), ("dog", 0, 22)],
        valid: None,
        told: &[],
    },
    Case {
        what: "years inside classes",
        files: &[("cat/2023/*.png", 5), ("cat/2024/*.png", 5), ("dog/2022/*.png", 5)],
        classes: &[("cat", 0, 10), ("dog", 0, 5)],
        valid: None,
        told: &[],
    },
    Case {
        what: "images for validation without classes, in a folder of their own",
        files: &[
            ("train/a/images/*.png", 5),
            ("train/b/images/*.png", 5),
            ("val/images/*.png", 9),
            ("val/notes.txt", 1),
        ],
        classes: &[("a", 0, 5), ("b", 0, 5)],
        valid: None,
        told: &["9 images in val, which has no class folders"],
    },
    Case {
        what: "classes that may be one",
        files: &[("Cat/*.png", 5), ("cat/*.png", 5), ("big dog/*.png", 5), ("big  dog /*.png", 5)],
        classes: &[("Cat", 4, 1), ("big  dog ", 4, 1), ("big dog", 4, 1), ("cat", 4, 1)],
        valid: None,
        told: &["\"big  dog \" and \"big dog\" are two classes that differ only in capitals or spaces, and 1 more"],
    },
    Case {
        what: "parts inside each class",
        files: &[("cat/train/*.png", 5), ("cat/test/*.png", 2), ("dog/train/*.png", 4), ("dog/test/old/*.png", 3)],
        classes: &[("cat", 5, 2), ("dog", 4, 3)],
        valid: None,
        told: &["9 training and 5 test images", "inside class folders are taken as parts"],
    },
    Case {
        what: "three parts inside each class, and two that a class lacks",
        files: &[
            ("cat/Train/*.png", 5),
            ("cat/Val/*.png", 2),
            ("cat/Test/*.png", 1),
            ("dog/training/*.png", 4),
            ("dog/validation/*.png", 3),
        ],
        classes: &[("cat", 5, 1), ("dog", 4, 0)],
        valid: Some(5),
        told: &["9 training, 5 validation and 1 test images"],
    },
    Case {
        what: "validation inside each class, in place of a test",
        files: &[("cat/train/*.png", 5), ("cat/val/*.png", 2), ("dog/train/*.png", 4), ("dog/val/*.png", 3)],
        classes: &[("cat", 5, 2), ("dog", 4, 3)],
        valid: None,
        told: &["9 training and 5 test images"],
    },
    Case {
        what: "images outside of the parts inside classes",
        files: &[("cat/train/*.png", 5), ("cat/test/*.png", 2), ("dog/train/*.png", 4), ("dog/*.png", 3)],
        classes: &[("cat", 0, 7), ("dog", 0, 7)],
        valid: None,
        told: &["folders inside class folders (test, train) are read as part of their class"],
    },
    Case {
        what: "masks beside images",
        files: &[("cat/images/*.png", 5), ("cat/masks/*.png", 5), ("dog/images/*.png", 5), ("dog/masks/*.png", 5)],
        classes: &[("cat", 0, 10), ("dog", 0, 10)],
        valid: None,
        told: &["folders inside class folders (images, masks) are read as part of their class"],
    },
    Case {
        what: "classes below letters",
        files: &[("a/airfield/*.png", 5), ("a/alley/*.png", 5), ("b/bar/*.png", 5), ("b/bridge/old/*.png", 5)],
        classes: &[("a/airfield", 0, 5), ("a/alley", 0, 5), ("b/bar", 0, 5), ("b/bridge/old", 0, 5)],
        valid: None,
        told: &["classes are named by their path (a/airfield)", "nested: \"top\""],
    },
    Case {
        what: "three parts",
        files: &[
            ("train/a/*.png", 6),
            ("train/b/*.png", 6),
            ("val/a/*.png", 3),
            ("val/b/*.png", 3),
            ("test/a/*.png", 2),
            ("test/b/*.png", 2),
        ],
        classes: &[("a", 6, 2), ("b", 6, 2)],
        valid: Some(6),
        told: &["12 training, 6 validation and 4 test images"],
    },
    Case {
        what: "names as Kaggle has them",
        files: &[("Training/a/*.png", 6), ("Training/b/*.png", 6), ("Testing/a/*.png", 3), ("Testing/b/*.png", 3)],
        classes: &[("a", 6, 3), ("b", 6, 3)],
        valid: None,
        told: &[],
    },
    Case {
        what: "words before the part, and folders within of the same name",
        files: &[
            ("seg_train/seg_train/a/*.png", 6),
            ("seg_train/seg_train/b/*.png", 6),
            ("seg_test/seg_test/a/*.png", 3),
            ("seg_test/seg_test/b/*.png", 3),
            ("seg_pred/seg_pred/*.png", 7),
        ],
        classes: &[("a", 6, 3), ("b", 6, 3)],
        valid: None,
        told: &["not used: the folder seg_pred"],
    },
    Case {
        what: "all parts inside the one for training",
        files: &[
            ("train/train/a/*.png", 4),
            ("train/train/b/*.png", 4),
            ("train/test/a/*.png", 2),
            ("train/test/b/*.png", 2),
        ],
        classes: &[("a", 4, 2), ("b", 4, 2)],
        valid: None,
        told: &["8 training and 4 test images"],
    },
    Case {
        what: "validation in place of a test",
        files: &[("TRAIN/a/*.png", 4), ("TRAIN/b/*.png", 4), ("Valid/a/*.png", 2), ("Valid/b/*.png", 2)],
        classes: &[("a", 4, 2), ("b", 4, 2)],
        valid: None,
        told: &["\"Valid\" is what the network is judged by"],
    },
    Case {
        what: "a test folder without classes, and a folder of numbers",
        files: &[("train/a/*.png", 5), ("train/b/*.png", 5), ("test/*.png", 9), ("test1/*.png", 9)],
        classes: &[("a", 4, 1), ("b", 4, 1)],
        valid: None,
        told: &["9 images in test, which has no class folders", "not used: the folder test1"],
    },
    Case {
        what: "a part that is none",
        files: &[("test/*.png", 5), ("control/*.png", 5)],
        classes: &[("control", 4, 1), ("test", 4, 1)],
        valid: None,
        told: &["\"test\" looks like a part of the data, but is read as a class"],
    },
    Case {
        what: "one level down",
        files: &[("dataset/a/*.png", 5), ("dataset/b/*.png", 5), ("README.md", 1)],
        classes: &[("a", 4, 1), ("b", 4, 1)],
        valid: None,
        told: &["1 .md"],
    },
    Case {
        what: "runs beside the classes, and images beside them",
        files: &[
            ("a/*.png", 5),
            ("b/*.png", 5),
            ("runs/own_images/run.json", 1),
            ("runs/own_images/plots/loss.png", 1),
            ("cover.png", 1),
        ],
        classes: &[("a", 4, 1), ("b", 4, 1)],
        valid: None,
        told: &["runs/, which holds runs", "1 images beside the class folders"],
    },
    Case {
        what: "runs of another hand, without run.json",
        files: &[
            ("a/*.png", 5),
            ("b/*.png", 5),
            ("runs/first/charts/*.png", 3),
            ("trained/journal.jsonl", 1),
            ("trained/plots/loss.png", 1),
        ],
        classes: &[("a", 4, 1), ("b", 4, 1)],
        valid: None,
        told: &["runs/, which holds runs (it has first/charts)", "trained/, which holds runs (it has journal.jsonl)"],
    },
    Case {
        what: "a class that is called as runs are, and classes with folders as runs have",
        files: &[("runs/2023/*.png", 5), ("walks/charts/*.png", 5)],
        classes: &[("runs", 4, 1), ("walks", 4, 1)],
        valid: None,
        told: &[],
    },
    Case {
        what: "classes that are numbers",
        files: &[("10/*.png", 5), ("9/*.png", 5), ("1/*.png", 5)],
        classes: &[("1", 4, 1), ("9", 4, 1), ("10", 4, 1)],
        valid: None,
        told: &[],
    },
];

#[test]
fn folders_as_they_are_in_the_world() {
    for case in CASES {
        let folder = tempdir().unwrap();
        lay(folder.path(), case.files);
        let data = open(folder.path()).unwrap_or_else(|error| panic!("{}: {error}", case.what));
        let (found, valid) = counts(&data);
        for ((name, train, test), (expected, learn, judge)) in found.iter().zip(case.classes) {
            assert_eq!(name, expected, "{}", case.what);
            // Where no training images are given, those of both parts together.
            match (*learn, *judge) {
                (0, 0) => assert_eq!(train + test, 10, "{}: {name}", case.what),
                (0, all) => assert_eq!(train + test, all, "{}: {name}", case.what),
                both => assert_eq!((*train, *test), both, "{}: {name}", case.what),
            }
        }
        assert_eq!((found.len(), valid), (case.classes.len(), case.valid), "{}", case.what);
        let told = data.notes.join("\n");
        for part in case.told {
            assert!(told.contains(part), "{}: \"{part}\" is missing in: {told}", case.what);
        }
        let looked_over = survey(&Source::Folder(folder.path().into()), &ImageOptions::default()).unwrap();
        let counted = (looked_over.classes, looked_over.train, looked_over.test);
        let read = (data.classes().to_vec(), data.train.class_counts(), data.test.class_counts());
        assert_eq!(counted, read, "{}", case.what);
    }
}
