"""Any frame of a video by its number is the frame that decoding from the start gives."""

from __future__ import annotations

import multiprocessing
import pickle
import random
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as PillowImage
from tests.video.clips import Coding, flat, levels, noise, write_clip

from svit.data import video_frames
from svit.data.video_frames import ImageFrames, VideoFrames, open_frames
from svit.data.video_seeker import SeekingDecoder
from svit.errors import DataError, SourceError
from svit.types import Image
from svit.video import open_source

SHARED_VIDEOS = (
    "videos/decoder/av1_video.mkv",
    "videos/decoder/bt709_full_range.mp4",
    "videos/decoder/h264_10bits.mp4",
    "videos/decoder/h265_10bits.mp4",
    "videos/decoder/h265_video.mp4",
    "videos/decoder/nasa_13013.mp4",
    "videos/decoder/ucf101_xvid.avi",
    "videos/decoder/var_fps_video.mp4",
    "tracking/train/PETS09-S2L1-A/video.mp4",
)

X264 = {"crf": "20", "preset": "medium", "bf": "3", "x264-params": "keyint=8:min-keyint=8:scenecut=0"}
CODINGS = {
    "closed.mp4": Coding(options=X264, keyframes=8),
    "open.mp4": Coding(options={**X264, "x264-params": X264["x264-params"] + ":open-gop=1"}, keyframes=8),
    "open.mkv": Coding(options={**X264, "x264-params": X264["x264-params"] + ":open-gop=1"}, keyframes=8),
    "open.ts": Coding(options={**X264, "x264-params": X264["x264-params"] + ":open-gop=1"}, keyframes=8),
    "refresh.mp4": Coding(
        options={**X264, "bf": "0", "x264-params": "intra-refresh=1:keyint=8"}, keyframes=8
    ),
    "intra.mp4": Coding(options={"crf": "20", "bf": "0"}, keyframes=1),
    "hevc.mp4": Coding(
        "libx265",
        options={"x265-params": "log-level=none:open-gop=1:keyint=8:min-keyint=8:bframes=3:pools=1"},
    ),
    "hidden.webm": Coding(
        "libvpx-vp9", options={"lag-in-frames": "12", "auto-alt-ref": "1", "cpu-used": "8"}, keyframes=16
    ),
    "hidden_8.webm": Coding("libvpx", options={"lag-in-frames": "12", "auto-alt-ref": "1"}, keyframes=16),
    "b_frames.avi": Coding("mpeg4", options={"bf": "2"}, keyframes=8),
    "b_frames.mkv": Coding("mpeg4", options={"bf": "2"}, keyframes=8),
}


def moving(count: int) -> list[Image]:
    """Pictures with something to predict from one to the next."""
    wide = noise(1, size=(96 + 2 * count, 64))[0] // 2 + 60
    return [np.ascontiguousarray(wide[:, 2 * number : 2 * number + 96]) for number in range(count)]


def in_order(path: Path) -> list[Image]:
    with open_source(path) as source:
        return [frame.image for frame in source]


def shuffled(count: int, seed: int = 0) -> list[int]:
    numbers = list(range(count))
    random.Random(seed).shuffle(numbers)
    return numbers


def assert_same_at_random(path: Path, cache: int = 4) -> VideoFrames:
    expected = in_order(path)
    frames = VideoFrames(path, cache=cache)
    assert len(frames) == len(expected)
    for number in shuffled(len(expected)):
        assert np.array_equal(frames[number], expected[number]), f"frame {number}"
    return frames


@pytest.mark.parametrize("name", CODINGS)
def test_random_reads_equal_decoding_from_the_start(tmp_path, name):
    path = write_clip(tmp_path / name, moving(40), CODINGS[name])
    assert_same_at_random(path).close()


@pytest.mark.parametrize("name", SHARED_VIDEOS)
def test_random_reads_of_real_videos_equal_decoding_from_the_start(shared, name):
    path = shared / "data" / name
    if not path.exists():
        pytest.skip(f"needs shared/data/{name} beside the project")
    assert_same_at_random(path, cache=512).close()


def test_a_variable_frame_rate_does_not_disturb_the_numbers(tmp_path):
    times = np.cumsum(np.random.default_rng(0).uniform(0.005, 0.4, 30)).tolist()
    path = write_clip(tmp_path / "clip.mp4", moving(30), CODINGS["open.mp4"], times=times)
    assert_same_at_random(path)


def remux(source: Path, target: Path, first: int = 0, earlier: float = 0.0, **options: str) -> Path:
    """Copies packets from number `first` on, their times `earlier` by so many seconds."""
    with av.open(str(source)) as whole, av.open(str(target), "w", options=options) as copy:
        stream = whole.streams.video[0]
        output = copy.add_stream_from_template(stream)
        ticks = round(earlier / stream.time_base)
        for number, packet in enumerate(whole.demux(stream)):
            if packet.size and number >= first:
                packet.pts, packet.dts, packet.stream = packet.pts - ticks, packet.dts - ticks, output
                copy.mux(packet)
    return target


@pytest.mark.parametrize(
    ("name", "frames", "how"),
    [
        ("edit_list.mp4", 47, {"earlier": 1.25, "avoid_negative_ts": "disabled"}),
        ("fragments.mp4", 60, {"movflags": "frag_keyframe+empty_moov"}),
        ("between_keyframes.mp4", 52, {"first": 5}),
        ("between_keyframes.mkv", 52, {"first": 5}),
        ("other_container.flv", 60, {}),
    ],
)
def test_frames_that_a_container_hides_are_not_counted(tmp_path, name, frames, how):
    whole = write_clip(tmp_path / "whole.mp4", moving(60), CODINGS["open.mp4"])
    assert len(assert_same_at_random(remux(whole, tmp_path / name, **how))) == frames


def test_a_recording_that_begins_between_keyframes_counts_what_decodes(tmp_path):
    whole = write_clip(tmp_path / "whole.ts", noise(48), CODINGS["open.ts"]).read_bytes()
    path = tmp_path / "rest.ts"
    path.write_bytes(whole[len(whole) // 4 // 188 * 188 :])
    expected = in_order(path)
    assert 20 < len(expected) < 48
    frames = VideoFrames(path)
    assert len(frames) == len(expected)
    assert all(np.array_equal(frames[number], expected[number]) for number in shuffled(len(expected)))


def test_several_threads_give_the_same_frames(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", moving(30), CODINGS["open.mp4"])
    one, two = VideoFrames(path), VideoFrames(path, threads=2)
    for number in shuffled(30):
        assert np.array_equal(one[number], two[number])
    two.close()


def test_reading_in_order_never_seeks_and_going_back_a_little_costs_nothing(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "clip.mp4", moving(40), CODINGS["open.mp4"])
    frames = VideoFrames(path, cache=6)
    frames[0]
    seeks = []
    monkeypatch.setattr(SeekingDecoder, "go", lambda self, place: seeks.append(place))
    for number in range(1, 40):
        frames[number]
        for back in range(1, min(4, number)):
            frames[number - back]
    assert seeks == []


def test_an_array_handed_out_is_the_callers(tmp_path):
    frames = VideoFrames(write_clip(tmp_path / "clip.mp4", moving(5)))
    first = frames[2]
    before = first.copy()
    first[:] = 0
    assert np.array_equal(frames[2], before)


def test_it_iterates_over_all_frames(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", [flat(level) for level in levels(9)])
    with VideoFrames(path) as frames:
        assert [round(image.mean() / 4) for image in frames] == [round(level / 4) for level in levels(9)]


def read_one(frames: VideoFrames, number: int) -> Image:
    return frames[number]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_another_process_reads_the_same_frames(tmp_path, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    path = write_clip(tmp_path / "clip.mp4", moving(20))
    frames = VideoFrames(path)
    frames[3]
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        others = [pool.submit(read_one, frames, number) for number in (15, 2)]
        assert np.array_equal(others[0].result(), frames[15])
        assert np.array_equal(others[1].result(), frames[2])


def fork_and_read(frames: VideoFrames, number: int, queue: multiprocessing.Queue) -> None:
    queue.put(frames[number])


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_does_not_share_the_place_in_the_file(tmp_path):
    frames = VideoFrames(write_clip(tmp_path / "clip.mkv", noise(40)), cache=1, threads=2)
    expected = [frames[number] for number in range(40)]
    frames[1]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=fork_and_read, args=(frames, 30, queue))
    process.start()
    other = queue.get(timeout=60)
    process.join()
    assert np.array_equal(other, expected[30])
    assert all(np.array_equal(frames[number], expected[number]) for number in range(2, 40))


def test_a_copy_does_not_search_the_file_again(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "clip.mp4", moving(20))
    frames = VideoFrames(path)
    expected = frames[7]
    data = pickle.dumps(frames)
    assert len(data) < 5000, "frames do not travel"
    monkeypatch.setattr(video_frames, "build_index", lambda path: pytest.fail("searched again"))
    assert np.array_equal(pickle.loads(data)[7], expected)


def open_files(path: Path) -> int:
    return sum(link.resolve() == path.resolve() for link in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to see open files")
def test_closing_gives_the_file_back_and_reading_opens_it_again(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", moving(20))
    with VideoFrames(path) as frames:
        assert open_files(path) == 0, "the search for keyframes leaves nothing open"
        expected = frames[5]
        frames[15], frames[2]
        assert open_files(path) == 1
    assert open_files(path) == 0
    frames.close()
    assert np.array_equal(frames[5], expected)
    frames.close()
    assert open_files(path) == 0


@pytest.mark.parametrize("number", [-1, 20, 10**6])
def test_a_frame_that_is_not_there_is_said(tmp_path, number):
    path = write_clip(tmp_path / "clip.mp4", moving(20))
    with pytest.raises(DataError, match=rf"clip\.mp4: has no frame {number}; it has 20"):
        VideoFrames(path)[number]


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(SourceError, match=r"none\.mp4: no such file"):
        VideoFrames(tmp_path / "none.mp4")


@pytest.mark.parametrize(("content", "says"), [(b"", "is empty"), (b"no video " * 99, "not a video file")])
def test_what_is_no_video_is_said(tmp_path, content, says):
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=rf"a\.mp4: .*{says}"):
        VideoFrames(path)


def test_a_cut_off_video_is_said_at_once(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", noise(60), Coding(container={"movflags": "+faststart"}))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(SourceError, match=r"clip\.mp4: .*(missing|breaks off)"):
        VideoFrames(path)


def test_a_damaged_frame_is_named_and_the_others_keep_their_numbers(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", noise(30), Coding(keyframes=1))
    expected = in_order(path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    path.write_bytes(data)
    frames = VideoFrames(path)
    bad = []
    for number in range(30):
        try:
            assert np.array_equal(frames[number], expected[number])
        except SourceError as error:
            bad.append((number, str(error)))
    assert [number for number, _ in bad] in ([14], [15], [16])
    assert f"{path}: frame {bad[0][0]} cannot be decoded" in bad[0][1]


def test_a_file_that_has_changed_is_said(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", moving(20))
    frames = VideoFrames(path)
    write_clip(path, noise(30))
    with pytest.raises(SourceError, match=r"clip\.mp4: has changed"):
        frames[0]


def write_images(folder: Path, numbers: list[int], name: str = "{:06d}.png") -> Path:
    folder.mkdir(parents=True)
    for number in numbers:
        PillowImage.fromarray(flat(number)).save(folder / name.format(number))
    return folder


def test_an_image_folder_reads_like_a_video(tmp_path):
    folder = write_images(tmp_path / "img1", [9, 10, 11, 12], "{}.png")
    with open_frames(folder) as frames:
        assert isinstance(frames, ImageFrames)
        assert [int(frames[number][0, 0, 0]) for number in (3, 0, 2)] == [12, 9, 11]
        assert [int(image[0, 0, 0]) for image in frames] == [9, 10, 11, 12]
        assert len(frames) == 4
        with pytest.raises(DataError, match="img1: has no frame 4; it has 4"):
            frames[4]


def test_a_missing_image_is_named(tmp_path):
    folder = write_images(tmp_path / "img1", [1, 2, 4, 5])
    with pytest.raises(DataError, match=r"img1: frame 3 is missing \(after 000002\.png\)"):
        open_frames(folder)


def test_an_image_that_is_there_twice_is_named(tmp_path):
    folder = write_images(tmp_path / "img1", [1, 2])
    PillowImage.fromarray(flat(2)).save(folder / "000002.jpg")
    with pytest.raises(DataError, match="img1: frame 2 comes twice"):
        open_frames(folder)


def test_images_without_numbers_are_taken_by_name(tmp_path):
    folder = tmp_path / "stills"
    folder.mkdir()
    for name in ("b.png", "a.png", "frame7.png"):
        PillowImage.fromarray(flat(10)).save(folder / name)
    assert len(open_frames(folder)) == 3


def test_a_folder_without_images_and_a_broken_image_are_said(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no images"):
        open_frames(tmp_path / "empty")
    folder = write_images(tmp_path / "img1", [1, 2])
    (folder / "000002.png").write_bytes(b"no image")
    frames = open_frames(folder)
    assert frames[0].shape == (64, 96, 3)
    with pytest.raises(SourceError, match=r"000002\.png: cannot be read"):
        frames[1]


@pytest.mark.parametrize("kind", ["images", "video"])
def test_a_sequence_folder_opens_its_images_or_its_video(tmp_path, kind):
    folder = tmp_path / "SEQ-01"
    if kind == "images":
        write_images(folder / "img1", [1, 2, 3])
    else:
        folder.mkdir()
        write_clip(folder / "video.mp4", [flat(50)] * 3)
    place = "imDir=img1" if kind == "images" else "videoFile=video.mp4"
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname=SEQ-01\n{place}\nframeRate=10\nseqLength=3\nimWidth=96\nimHeight=64\nimExt=.png\n"
    )
    with open_frames(folder) as frames:
        assert len(frames) == 3
        assert frames[2].shape == (64, 96, 3)
