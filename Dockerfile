# The environment of cog.yaml without the cog command: docker build -t indextts2 . && docker run --gpus all -p 5000:5000 indextts2
# torch's CUDA wheels bring the CUDA libraries, so a plain Python image is enough. CUDA 12.8, as in cog.yaml: PyPI's
# own torch 2.11.0 is built for CUDA 13, which needs a newer driver.
FROM python:3.11-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ffmpeg g++ libsndfile1 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements.txt requirements-nodeps.txt ./
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cu128 \
        $(grep -E '^torch(audio)?==' requirements.txt) \
    && pip install --no-cache-dir -r requirements.txt \
    && pip install --no-cache-dir --no-deps -r requirements-nodeps.txt
COPY . .
RUN python -m pipeline.vocoder.kernel   # the fused activation; where cog builds the image, setup() compiles it
ENV INDEXTTS_MODEL=indextts2 \
    OMP_WAIT_POLICY=passive \
    GOMP_SPINCOUNT=5000 \
    COG_PREDICT_TYPE_STUB=predict.py:Predictor \
    PYTHONUNBUFFERED=1
EXPOSE 5000
# Cog's server behind a front that queues requests instead of answering 409, and passes on a client's paths alone.
CMD ["python", "-m", "gateway.front"]
