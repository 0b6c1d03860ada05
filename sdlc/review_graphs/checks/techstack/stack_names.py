"""Names that have to be known: which distribution has which module, and which names are very common.

Only what no rule tells. Modules are named as in `import`, distributions as on their index.
"""

from __future__ import annotations


def _table(text: str) -> dict[str, tuple[str, ...]]:
    pairs = (entry.partition("=") for entry in text.split())
    return {name: tuple(others.split(",")) for name, _, others in pairs}


def words(text: str) -> frozenset[str]:
    """The words of a text, for lists of names."""
    return frozenset(text.split())


DISTRIBUTIONS = _table("""
    attr=attrs Bio=biopython bs4=beautifulsoup4 bson=pymongo cairo=pycairo corsheaders=django-cors-headers
    Crypto=pycryptodome,pycrypto Cryptodome=pycryptodomex cx_Oracle=cx-oracle
    cv2=opencv-python,opencv-python-headless,opencv-contrib-python,opencv-contrib-python-headless
    dateutil=python-dateutil debug_toolbar=django-debug-toolbar discord=discord-py,py-cord dns=dnspython
    django_filters=django-filter docx=python-docx dotenv=python-dotenv environ=django-environ engineio=python-engineio
    factory=factory-boy faiss=faiss-cpu,faiss-gpu fitz=pymupdf frontmatter=python-frontmatter gi=pygobject
    git=gitpython github=pygithub gitlab=python-gitlab googleapiclient=google-api-python-client
    gridfs=pymongo grpc=grpcio grpc_status=grpcio-status grpc_tools=grpcio-tools
    igraph=igraph,python-igraph import_export=django-import-export jose=python-jose jwt=pyjwt
    kafka=kafka-python,kafka-python-ng ldap=python-ldap Levenshtein=levenshtein,python-levenshtein
    magic=python-magic,python-magic-bin markdown_it=markdown-it-py memcache=python-memcached mpl_toolkits=matplotlib
    multipart=python-multipart,multipart MySQLdb=mysqlclient nacl=pynacl nmap=python-nmap OpenGL=pyopengl
    OpenSSL=pyopenssl osgeo=gdal,pygdal PIL=pillow,pillow-simd pkg_resources=setuptools playhouse=peewee
    polars=polars,polars-lts-cpu pptx=python-pptx psycopg=psycopg,psycopg-binary,psycopg-c
    psycopg2=psycopg2,psycopg2-binary pwiz=peewee py=py,pytest pylab=matplotlib pymysql=pymysql _pytest=pytest
    pytest_asyncio=pytest-asyncio pytest_mock=pytest-mock pythoncom=pywin32 pywintypes=pywin32
    rest_framework=djangorestframework ruamel=ruamel-yaml serial=pyserial shapefile=pyshp skimage=scikit-image
    sklearn=scikit-learn slugify=python-slugify socketio=python-socketio storages=django-storages tables=tables
    telegram=python-telegram-bot tensorflow=tensorflow,tensorflow-cpu,tensorflow-macos,tf-nightly typer=typer,typer-slim
    umap=umap-learn usb=pyusb vcr=vcrpy websocket=websocket-client win32api=pywin32 win32com=pywin32 win32con=pywin32
    wx=wxpython xdist=pytest-xdist xgboost=xgboost,xgboost-cpu Xlib=python-xlib yaml=pyyaml zmq=pyzmq
""")
"""Module → the distributions that have it. A module that is listed is provided by these alone."""

WITH = _table("""
    aiohttp=yarl,multidict boto3=botocore celery=kombu djangorestframework=django fastapi=starlette,pydantic,anyio
    flask=werkzeug,jinja2,click,itsdangerous,markupsafe httpx=httpcore,anyio,certifi jinja2=markupsafe
    langchain=langchain_core,pydantic matplotlib=numpy pandas=numpy,dateutil pydantic=pydantic_core,typing_extensions
    pydantic-settings=pydantic,dotenv pytest=pluggy,_pytest requests=urllib3,certifi scikit-learn=numpy,scipy,joblib
    scipy=numpy seaborn=numpy,pandas,matplotlib starlette=anyio torch=numpy typer=click,rich
""")
"""Distribution → modules of others that its installation brings along."""

NOT_DISTRIBUTIONS = {
    "beautiful-soup": "beautifulsoup4",
    "beautifulsoup": "beautifulsoup4",
    "bs4": "beautifulsoup4",
    "crypto": "pycryptodome",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "discord": "discord.py",
    "django-rest-framework": "djangorestframework",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "git": "gitpython",
    "jinja": "jinja2",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "ldap": "python-ldap",
    "mysqldb": "mysqlclient",
    "nacl": "pynacl",
    "opencv": "opencv-python",
    "openssl": "pyopenssl",
    "pil": "pillow",
    "postgresql": "psycopg",
    "pptx": "python-pptx",
    "psycopg3": "psycopg",
    "python-json": "the standard library's json",
    "python-requests": "requests",
    "python-sqlite": "the standard library's sqlite3",
    "python-sqlite3": "the standard library's sqlite3",
    "python-yaml": "pyyaml",
    "rest-framework": "djangorestframework",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "telegram": "python-telegram-bot",
    "usb": "pyusb",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}
"""Names under which the index has nothing, or something else than what is meant → the name that is meant."""

POPULAR_PYTHON = words("""
    aiohttp alembic anyio apache-airflow argon2-cffi arrow asyncpg attrs authlib azure-core azure-identity babel bandit
    bcrypt beautifulsoup4 black boto3 botocore cachetools celery certifi cffi chardet charset-normalizer click
    cloudpickle colorama confluent-kafka coverage cryptography cython dask databricks-sdk datasets decorator django
    djangorestframework dnspython docker docutils duckdb elasticsearch email-validator fastapi filelock flake8 flask
    flask-cors flask-sqlalchemy fsspec gevent gitpython google-api-core google-auth google-cloud-storage greenlet grpcio
    gunicorn httpcore httplib2 httptools httpx huggingface-hub hypothesis idna importlib-metadata ipython isort
    itsdangerous jinja2 jmespath joblib jsonschema jupyter keras keyring kombu kubernetes langchain lightgbm litellm
    loguru lxml markdown markupsafe marshmallow matplotlib more-itertools msgpack multidict mypy mysqlclient networkx
    nltk notebook numba numpy oauthlib openai opencv-python openpyxl orjson packaging pandas paramiko passlib pendulum
    pexpect pillow platformdirs playwright plotly pluggy polars pre-commit prometheus-client protobuf psutil psycopg
    psycopg2 psycopg2-binary pyarrow pycparser pycryptodome pydantic pydantic-settings pygithub pygments pyjwt pylint
    pymongo pymysql pynacl pyodbc pyopenssl pyparsing pyserial pytest pytest-asyncio pytest-cov pytest-mock pytest-xdist
    python-dateutil python-dotenv python-multipart python-slugify pytz pyyaml pyzmq rapidfuzz redis regex requests
    requests-oauthlib responses scikit-image scikit-learn scipy scrapy seaborn selenium sentry-sdk setuptools shapely
    simplejson sphinx sqlalchemy starlette statsmodels stripe structlog sympy tabulate tenacity tensorflow termcolor
    tiktoken tomlkit torch torchvision tornado tqdm transformers twilio typer typing-extensions tzdata tzlocal ujson
    urllib3 uvicorn uvloop virtualenv watchdog watchfiles websocket-client websockets werkzeug wrapt xgboost xmltodict
""")
"""Of the most downloaded distributions."""

POPULAR_NPM = words("""
    angular antd archiver async autoprefixer aws-sdk axios babel-loader bcrypt bluebird body-parser bootstrap browserify
    color colors enquirer expresso jqueryui nestjs nuxi preact prism reactn request
    bunyan chalk cheerio chokidar classnames clsx commander compression concurrently cookie-parser core-js cors
    cross-env cross-spawn css-loader cypress dayjs debug dotenv ejs electron esbuild eslint execa express
    express-session fastify form-data formik framer-motion fs-extra graphql gulp handlebars helmet html-webpack-plugin
    husky immer immutable inquirer ioredis jasmine jest jquery js-yaml jsdom jsonwebtoken karma knex lint-staged lodash
    lodash-es luxon marked minimatch minimist mkdirp mocha moment mongodb mongoose morgan multer mysql2 nanoid next
    node-fetch nodemailer nodemon nuxt passport playwright postcss prettier prisma prop-types puppeteer ramda react
    react-dom react-hook-form react-redux react-router react-router-dom react-scripts redux reselect rimraf rollup rxjs
    sass sass-loader semver sequelize sharp shelljs sinon socket.io socket.io-client storybook style-loader
    styled-components supertest svelte swiper tailwindcss three ts-jest ts-loader ts-node tslib typeorm typescript
    underscore uuid validator vite vitest vuex webpack webpack-cli webpack-dev-server winston yargs zustand
""")
"""Of the most downloaded packages of npm."""

REAL = words("""
    aioredis asyncpgsa boto bpython cchardet dataset docker-py hiredis httpcore2 httpx2 markdown2 mysql nose2 openapi
    pandera pyaml pygit2 pymssql pypdf scapy scrapyd scrypt simpy starlite swipe toml tomli torchx tslint twine wexpect
    willow
""")
"""Names that exist, are meant as they are, and are one letter away from a popular one."""

PROVIDED = words("""
    _typeshed adsk apt apt_pkg arcpy board bmesh bpy burp busio c4d dbutils digitalio dnf FreeCAD gdb gimpfu hexchat hou
    ida_pro idaapi idautils idc java js lldb machine mathutils maya micropython mobase nuke nvim obspython pymel pyodide
    pyscript qgis rhinoscriptsyntax rpm sublime sublime_plugin uasyncio unreal utime uwsgi vim weechat xbmc xbmcaddon
    xbmcgui xbmcplugin
""")
"""Modules that the program in which the code runs has, and no index."""

NAMESPACES = words("airflow aws_cdk azure backports google jaraco opentelemetry plone sphinxcontrib zope")
"""Packages that many distributions share, each named like its part of it."""

IN_NAMESPACE = words("protobuf googleapis-common-protos grpcio-status grpcio-tools aws-cdk-lib")
"""Distributions with a part of such a package that are named otherwise."""
