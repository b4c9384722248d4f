//! Downloads with the machine's curl from a mirror that behaves in all the ways that mirrors do.

#![cfg(unix)]

use tempfile::TempDir;

use super::*;
use crate::fakes::{Answer, Heard, Mirror, plain_path, script};

struct Bench {
    dir: TempDir,
    heard: Heard,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), heard: Heard::default() }
    }

    fn env(&self) -> Env {
        Env::empty(self.dir.path()).with("PATH", plain_path(self.dir.path()))
    }

    fn download(&self, url: &str) -> Result<Received, DownloadError> {
        self.download_with(url, &self.env())
    }

    fn download_with(&self, url: &str, env: &Env) -> Result<Received, DownloadError> {
        let timeouts = Timeouts { stall: Duration::from_secs(1), ..Timeouts::default() };
        let to = self.dir.path().join("file");
        Download { url, to: &to, env, reporter: &self.heard, timeouts }.run()
    }

    fn from(&self, answer: Answer) -> Result<Received, DownloadError> {
        let mirror = Mirror::always(answer);
        self.download(&format!("{}/file", mirror.url()))
    }
}

#[test]
fn what_arrives_is_written_and_summed_up() {
    let (bench, content) = (Bench::new(), vec![7; 300_000]);
    let received = bench.from(Answer::Content(content.clone())).unwrap();
    assert_eq!(received.sha256, Sha256::of_bytes(&content));
    assert!(!received.web_page);
    assert_eq!(std::fs::read(bench.dir.path().join("file")).unwrap(), content);
    assert_eq!(bench.heard.lines().last().unwrap(), "received 300000 of 300000 bytes");
}

#[test]
fn a_length_that_is_not_announced_is_not_invented() {
    let bench = Bench::new();
    bench.from(Answer::Unannounced(vec![7; 1000])).unwrap();
    assert_eq!(bench.heard.lines().last().unwrap(), "received 1000 bytes");
}

#[test]
fn redirects_are_followed_and_their_lengths_forgotten() {
    let bench = Bench::new();
    let mirror = Mirror::start(|path| match path {
        "/file" => Answer::Redirect("/elsewhere".to_owned()),
        _ => Answer::Content(b"here".to_vec()),
    });
    let received = bench.download(&format!("{}/file", mirror.url())).unwrap();
    assert_eq!(received.sha256, Sha256::of_bytes(b"here"));
    assert_eq!(bench.heard.lines(), ["received 4 of 4 bytes"]);
}

#[test]
fn a_redirect_never_leads_to_a_local_file() {
    let bench = Bench::new();
    let error = bench.from(Answer::Redirect("file:///etc/passwd".to_owned())).unwrap_err();
    assert!(matches!(error, DownloadError::Failed { .. }), "{error}");
}

#[test]
fn a_local_mirror_works() {
    let bench = Bench::new();
    std::fs::write(bench.dir.path().join("archive"), "content").unwrap();
    let url = |bench: &Bench, name: &str| format!("file://{}/{name}", bench.dir.path().display()).replace(' ', "%20");
    let received = bench.download(&url(&bench, "archive")).unwrap();
    assert_eq!(received.sha256, Sha256::of_bytes(b"content"));
    let bench = Bench::new();
    let error = bench.download(&url(&bench, "none")).unwrap_err();
    assert!(matches!(error, DownloadError::Refused { .. }), "{error}");
}

#[test]
fn an_error_of_the_server_is_told_with_its_number() {
    for (status, said) in [
        (403, "does not let this user have"),
        (404, "the server has no"),
        (410, "the server has no"),
        (407, "the proxy wants to know who asks"),
        (429, "has been asked too often"),
        (500, "has failed"),
        (503, "has failed"),
    ] {
        let error = Bench::new().from(Answer::Status(status)).unwrap_err();
        assert!(matches!(error, DownloadError::Refused { status: Some(told), .. } if told == status), "{error:?}");
        assert!(error.to_string().contains(said) && error.to_string().contains(&status.to_string()), "{error}");
    }
}

#[test]
fn silence_and_a_trickle_are_both_a_stall() {
    for answer in [Answer::Silence, Answer::Drip, Answer::Promise(1000)] {
        let error = Bench::new().from(answer.clone()).unwrap_err();
        assert!(matches!(error, DownloadError::Stalled { .. }), "{answer:?}: {error}");
    }
}

#[test]
fn what_breaks_off_is_an_error() {
    let error = Bench::new().from(Answer::CutOff(vec![7; 1000])).unwrap_err();
    assert!(matches!(error, DownloadError::Failed { .. }), "{error}");
    assert!(error.to_string().contains("1 bytes remaining"), "{error}");
}

#[test]
fn what_is_larger_than_any_release_is_not_begun() {
    let error = Bench::new().from(Answer::Promise(LARGEST + 1)).unwrap_err();
    assert!(matches!(error, DownloadError::TooLarge { limit: LARGEST, .. }), "{error}");
}

#[test]
fn what_never_ends_is_cut_off() {
    let bench = Bench::new();
    let bin = bench.dir.path().join("bin");
    script(&bin, "curl", "exec cat /dev/zero");
    let env = Env::empty(bench.dir.path()).with("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    let error = bench.download_with("https://mirror.example/file", &env).unwrap_err();
    assert!(matches!(error, DownloadError::TooLarge { .. }), "{error}");
    assert!(std::fs::metadata(bench.dir.path().join("file")).unwrap().len() <= LARGEST);
}

#[test]
fn a_web_page_is_recognized() {
    for page in ["<!DOCTYPE html>", "\r\n  <html>"] {
        assert!(Bench::new().from(Answer::Content(page.as_bytes().to_vec())).unwrap().web_page, "{page}");
    }
}

#[test]
fn nobody_there_is_told_from_a_refusal() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = Bench::new().download(&format!("http://{address}/file")).unwrap_err();
    assert!(matches!(error, DownloadError::Unreachable { .. }), "{error}");
}

#[test]
fn without_curl_the_error_says_so() {
    let bench = Bench::new();
    let env = Env::empty(bench.dir.path()).with("PATH", bench.dir.path());
    let error = bench.download_with("http://127.0.0.1:9/file", &env).unwrap_err();
    let expected = "`curl`, which is needed to download `http://127.0.0.1:9/file`, is not on PATH";
    assert_eq!(error.to_string(), expected);
}

/// Every process can see another's arguments.
#[test]
fn credentials_are_not_in_arguments() {
    let bench = Bench::new();
    let (bin, file) = (bench.dir.path().join("bin"), |name: &str| bench.dir.path().join(name));
    let body = format!("echo \"$@\" > '{}'; cat > '{}'", file("args").display(), file("input").display());
    script(&bin, "curl", &body);
    let env = Env::empty(bench.dir.path()).with("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    bench.download_with(r#"https://user:se"cr\et@mirror.example/file"#, &env).unwrap();
    let read = |name| std::fs::read_to_string(file(name)).unwrap();
    assert!(!read("args").contains("mirror.example"), "{}", read("args"));
    assert_eq!(read("input"), "url = \"https://user:se\\\"cr\\\\et@mirror.example/file\"\n");
}

#[test]
fn credentials_in_a_url_are_never_shown() {
    let mirror = Mirror::always(Answer::Status(404));
    let url = mirror.url().replace("http://", "http://user:secret@");
    let error = Bench::new().download(&format!("{url}/file")).unwrap_err();
    let whole = format!("{error}{}", crate::install::with_causes(&error));
    assert!(whole.contains("404") && !whole.contains("secret"), "{whole}");
}
