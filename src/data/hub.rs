//! Fetches data sets from the Hugging Face hub, once: its cache keeps them.
//!
//! MNIST and Fashion-MNIST come through candle-datasets. CIFAR-10 it would read transposed, so that one's two files are
//! fetched by the client candle-datasets uses, into the same cache, and read by [`parquet`](super::parquet).

use super::download::Download;
use super::idx::FASHION_CLASSES;
use super::loaded::Loaded;
use super::options::ImageOptions;
use super::parquet;
use super::parts::Parts;
use super::set::Pixels;
use crate::shape::Shape;
use crate::{Error, Result, interrupt};
use candle_core::{DType, Tensor};
use candle_datasets::vision::{Dataset, fashion_mnist, mnist};
use hf_hub::{HFClientSync, HFError};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

/// Takes the files from the cache, or fetches them, and reads them.
///
/// # Errors
/// No network, or a hub that does not answer.
pub(super) fn load(download: Download, options: &ImageOptions) -> Result<Loaded> {
    let failed = |reason: String| {
        Error::run(format!("{} could not be fetched from the Hugging Face hub: {reason}", download.name()))
            .hint("without a network, copy the data set's files into a folder and give that folder instead of the name")
    };
    match download {
        Download::Cifar10 => {
            let [train, test] = interruptible(cifar_files)?.map_err(failed)?;
            let files = Parts { train: vec![train], test: vec![test], valid: None };
            parquet::load_files(download.name(), files, options)
        }
        Download::FashionMnist => {
            let classes = FASHION_CLASSES.map(String::from).to_vec();
            let data = interruptible(fashion_mnist::load)?.map_err(|error| failed(error.to_string()))?;
            pixels_of(download, data, classes)
        }
        Download::Mnist => {
            let classes = (0..10).map(|digit| digit.to_string()).collect();
            let data = interruptible(mnist::load)?.map_err(|error| failed(error.to_string()))?;
            pixels_of(download, data, classes)
        }
    }
}

/// candle-datasets gives [N, 784] floats, bytes over 255.
fn pixels_of(download: Download, data: Dataset, classes: Vec<String>) -> Result<Loaded> {
    let shape = Shape { channels: 1, height: 28, width: 28 };
    let pixels = |images: Tensor, labels: Tensor| -> Result<Pixels> {
        let values = images.flatten_all()?.to_vec1::<f32>()?;
        let bytes = values.into_iter().map(|value| (value * 255.0).round() as u8).collect();
        Ok(Pixels { bytes, labels: labels.to_dtype(DType::U32)?.to_vec1()?, shape, listed: Vec::new() })
    };
    let train = pixels(data.train_images, data.train_labels)?;
    let test = pixels(data.test_images, data.test_labels)?;
    Ok(Loaded::new(download.name(), classes, Parts { train, test, valid: None }))
}

/// CIFAR-10's training and test file, from the cache or else from the hub.
fn cifar_files() -> Result<[PathBuf; 2], String> {
    let get = |file: &str| {
        let repository = HFClientSync::new()?.dataset("", "cifar10");
        let request = repository.download_file().filename(file).revision("refs/convert/parquet");
        match request.clone().local_files_only(true).send() {
            Err(HFError::LocalEntryNotFound { .. }) => request.send(),
            cached => cached,
        }
    };
    let both = || Ok([get("plain_text/train/0000.parquet")?, get("plain_text/test/0000.parquet")?]);
    both().map_err(|error: HFError| error.to_string())
}

/// Runs `fetch` on a thread of its own, so that Ctrl-C need not wait for the network.
fn interruptible<T: Send + 'static>(fetch: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(fetch()));
    loop {
        interrupt::check()?;
        match receiver.recv_timeout(Duration::from_millis(100)) {
            Ok(result) => return Ok(result),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(Error::run("the download broke off")),
        }
    }
}
