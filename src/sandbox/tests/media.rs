use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::{CORP, Sandbox, errcode};

async fn upload(sandbox: &Sandbox, token: &str, kind: &str, bytes: Vec<u8>) -> Value {
    let part = Part::bytes(bytes).file_name("report.bin").mime_str("application/x-report").unwrap();
    let form = Form::new().text("note", "not the file").part("media", part);
    let request = sandbox.http.post(sandbox.url("/cgi-bin/media/upload"));
    let request = request.query(&[("access_token", token), ("type", kind)]).multipart(form);
    request.send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn an_upload_comes_back_whole_or_in_ranges() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let uploaded = upload(&sandbox, &token, "file", bytes.clone()).await;
    let media_id = uploaded["media_id"].as_str().unwrap();
    assert!(uploaded["created_at"].is_string());
    let query = [("access_token", token.as_str()), ("media_id", media_id)];
    let whole = sandbox.raw("media/get", &query).await;
    assert_eq!(whole.headers()["content-type"], "application/x-report");
    assert_eq!(whole.headers()["content-disposition"], "attachment; filename=\"report.bin\"");
    assert_eq!(whole.bytes().await.unwrap(), bytes);
    for (range, start, end) in
        [("bytes=10-19", 10, 20), ("bytes=99990-", 99_990, 100_000), ("bytes=-5", 99_995, 100_000)]
    {
        let request =
            sandbox.http.get(sandbox.url("/cgi-bin/media/get")).query(&query).header("range", range);
        let part = request.send().await.unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(part.headers()["content-range"], format!("bytes {start}-{}/100000", end - 1));
        assert_eq!(part.bytes().await.unwrap(), bytes[start..end]);
    }
}

#[tokio::test]
async fn uploads_must_have_a_type_and_a_size_that_it_allows() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    let cases =
        [("", 100, 40004), ("film", 100, 40004), ("file", 0, 44001), ("file", 5, 40006), ("file", 6, 0)];
    for (kind, size, expected) in cases {
        assert_eq!(errcode(&upload(&sandbox, &token, kind, vec![1; size]).await), expected, "{kind} {size}");
    }
    assert_eq!(errcode(&upload(&sandbox, &token, "voice", vec![1; (2 << 20) + 1]).await), 45001);
    assert_eq!(errcode(&sandbox.post("media/upload?type=file", &token, &json!({})).await), 41005);
}

#[tokio::test]
async fn media_expire_after_three_days_and_answer_json_then() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    let uploaded = upload(&sandbox, &token, "file", vec![1; 100]).await;
    sandbox.advance(3 * 86_400_000).await;
    let token = sandbox.token().await;
    let query = [("access_token", token.as_str()), ("media_id", uploaded["media_id"].as_str().unwrap())];
    assert_eq!(errcode(&sandbox.get("media/get", &query).await), 40007);
}

#[tokio::test]
async fn more_than_twenty_megabytes_need_a_range() {
    let sandbox = Sandbox::unlimited();
    let token = sandbox.token().await;
    let big = json!({"corp_id": CORP, "filename": "big.bin", "size": 25 << 20});
    let created = sandbox.control("media", &big).await;
    let query = [("access_token", token.as_str()), ("media_id", created["media_id"].as_str().unwrap())];
    assert_eq!(errcode(&sandbox.get("media/get", &query).await), 830_002);
    let request =
        sandbox.http.get(sandbox.url("/cgi-bin/media/get")).query(&query).header("range", "bytes=251-252");
    assert_eq!(request.send().await.unwrap().bytes().await.unwrap(), vec![0, 1]);
}
