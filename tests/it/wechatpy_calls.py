"""What a program does with wechatpy, with nothing but WeCom's base URL changed.

Usage: wechatpy_calls.py BASE_URL CORP_ID SECRET AGENT_ID

Prints a line of JSON for the directory, waits for a line on its input, and prints one for media and messages.
"""

import io
import json
import sys

from wechatpy.exceptions import WeChatClientException
from wechatpy.work import WeChatClient
from wechatpy.work.client.api import WeChatMedia

WECOM = "https://qyapi.weixin.qq.com"
# More than the gateway keeps in memory, both ways.
FILE = bytes(range(256)) * 12 * 1024


class Media(WeChatMedia):
    def get_url(self, media_id):
        return super().get_url(media_id).replace(WECOM, self._client.base_url)


class Client(WeChatClient):
    """wechatpy has the host in three places: the APIs', gettoken's and the download's."""

    media = Media()

    def __init__(self, base_url, corp_id, secret):
        self.base_url = base_url
        self.API_BASE_URL = f"{base_url}/cgi-bin/"
        self.token_fetches = 0
        super().__init__(corp_id, secret)

    def fetch_access_token(self):
        self.token_fetches += 1
        params = {"corpid": self.corp_id, "corpsecret": self.secret}
        return self._fetch_access_token(url=f"{self.API_BASE_URL}gettoken", params=params)


def error_of(call):
    """The errcode with which a call fails."""
    try:
        call()
    except WeChatClientException as error:
        return error.errcode
    return 0


def directory(client):
    created = client.user.create("newcomer", "New Comer", department=[3], mobile="13800000000")
    newcomer = client.user.get("newcomer")
    return {
        "user": client.user.get("zhangsan"),
        "members": [user["userid"] for user in client.user.list(3, simple=True)],
        "details": [user["email"] for user in client.user.list(1, fetch_child=True)],
        "departments": [department["name"] for department in client.department.list()],
        "department": client.department.create("Night shift", parent_id=4),
        "tags": [tag["tagname"] for tag in client.tag.list()],
        "tag": client.tag.get_users(1),
        "created": created["errmsg"],
        "newcomer": newcomer["name"],
        "updated": client.user.update("newcomer", position="Guest")["errmsg"],
        "deleted": client.user.delete("newcomer")["errmsg"],
        "gone": error_of(lambda: client.user.get("newcomer")),
    }


def messages(client, agent_id):
    file = io.BytesIO(FILE)
    file.name = "file.bin"
    uploaded = client.media.upload("file", file)
    downloaded = client.media.download(uploaded["media_id"])
    return {
        "uploaded": uploaded,
        "same_bytes": downloaded.content == FILE,
        "disposition": downloaded.headers["content-disposition"],
        "file": client.message.send_file(agent_id, ["lisi"], uploaded["media_id"]),
        "text": client.message.send_text(agent_id, ["zhangsan", "nobody"], "现在 20:15，开会"),
        "to_nobody": error_of(lambda: client.message.send_text(agent_id, "nobody", "hello?")),
        "no_such_media": client.media.download("none").json()["errcode"],
    }


def main():
    base_url, corp_id, secret, agent_id = sys.argv[1:]
    client = Client(base_url, corp_id, secret)
    print(json.dumps(directory(client)), flush=True)
    sys.stdin.readline()
    result = messages(client, int(agent_id))
    print(json.dumps({**result, "token_fetches": client.token_fetches}), flush=True)


main()
