//! CIFAR as Python's pickles: recognised, so that it can be said where to get the form that is read.

use crate::Error;
use std::path::Path;

/// What is told of a folder of names that are those of CIFAR's pickles; `None` for any other.
pub(super) fn refusal(folder: &Path, names: &[String]) -> Option<Error> {
    let is = |name: &str| names.iter().any(|n| n == name) && begins_as_pickle(&folder.join(name));
    let (set, archive) = match () {
        () if is("data_batch_1") || is("batches.meta") => ("CIFAR-10", "cifar-10-binary.tar.gz"),
        () if is("meta") && (is("train") || is("test")) => ("CIFAR-100", "cifar-100-binary.tar.gz"),
        () => return None,
    };
    Some(Error::user(format!("{}: this is {set} as Python's pickles, which are not read", folder.display())).hint(
        format!(
            "a pickle is a program for Python; get the binary version, {archive}, from the same page \
             (https://www.cs.toronto.edu/~kriz/cifar.html), or the data set as parquet"
        ),
    ))
}

/// Whether a file begins as pickles of protocol 2 and later do.
fn begins_as_pickle(path: &Path) -> bool {
    use std::io::Read;
    let mut head = [0; 2];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok_and(|()| head[0] == 0x80)
}
